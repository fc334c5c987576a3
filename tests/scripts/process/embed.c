/* Initialises Python, runs the program of the next argument and finalizes it, for each argument. */
#include <Python.h>
#include <stdio.h>

int main(int count, char **programs) {
    int failed = 0;
    for (int number = 1; number < count; number++) {
        Py_Initialize();
        failed |= PyRun_SimpleString(programs[number]) != 0;
        failed |= Py_FinalizeEx() != 0;
        printf("finalized\n");
        fflush(stdout);
    }
    return failed;
}
