# shellcheck shell=bash disable=SC2034 # the variables are for the scripts that source this
# Sourced by the other scripts: where things are, virtual environments, wheels. Not run by itself.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1
export PIP_DISABLE_PIP_VERSION_CHECK=1
target=${CARGO_TARGET_DIR:-$root/target}

die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# make_venv NAME PYTHON [GROUP...]: .venv/NAME made by PYTHON with those dependency groups of pyproject.toml.
# Does nothing where it is there already, for the same interpreter and the same pyproject.toml.
make_venv() {
  local dir=$root/.venv/$1 python=$2 stamp group args=()
  shift 2
  stamp="$("$python" -VV | tr '\n' ' ') $python $* $(cksum <pyproject.toml)"
  [ "$(cat "$dir/.stamp" 2>/dev/null)" = "$stamp" ] && return 0
  for group; do args+=(--group "$group"); done
  rm -rf "$dir"
  "$python" -m venv "$dir" || return 1
  "$dir/bin/python" -m pip install -q --upgrade 'pip>=25.1' || return 1 # the first that reads dependency groups
  if [ "${#args[@]}" -gt 0 ]; then "$dir/bin/python" -m pip install -q --no-compile "${args[@]}" || return 1; fi
  printf '%s' "$stamp" >"$dir/.stamp"
}

# install_wheel NAME WHEEL: puts the wheel into .venv/NAME; does nothing where this very wheel is there.
install_wheel() {
  local dir=$root/.venv/$1 wheel=$2 stamp
  stamp=$(cksum <"$wheel") || return 1
  [ "$(cat "$dir/.wheel" 2>/dev/null)" = "$stamp" ] && return 0
  "$dir/bin/python" -m pip install -q --no-compile --no-index --no-deps --force-reinstall "$wheel" || return 1
  printf '%s' "$stamp" >"$dir/.wheel"
}

# The interpreter that the tools run on: "tag path". 3.13 if it is there, which has wheels of all of them, else the newest one
# with the GIL, if there is any.
main_interpreter() {
  local found=${PYANTS_INTERPRETERS:-} # what a caller has found already
  [ -n "$found" ] || found=$(scripts/interpreters --found 2>/dev/null) || { scripts/interpreters --found; return 1; }
  { grep '^3.13 ' <<<"$found" || grep -v '^[0-9.]*t ' <<<"$found" || cat <<<"$found"; } | tail -n 1
}

need_cargo() {
  command -v cargo >/dev/null || die 'cargo is missing: install Rust 1.85 or newer'
}
