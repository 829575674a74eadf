"""Writes the C source of the module vecsql._core: python _core_build.py HEADER OUT.c.

The declarations are the block of csrc/memory/memory_index.h between ``/* cffi:begin */`` and
``/* cffi:end */``, so that C and Python cannot disagree. CMake runs this file; the package never
imports it.
"""

from __future__ import annotations

import sys
from pathlib import Path

BEGIN, END = "/* cffi:begin */", "/* cffi:end */"


def declarations(header: str) -> str:
    """Returns the block of the header that is for cffi."""
    if header.count(BEGIN) != 1 or header.count(END) != 1:
        raise SystemExit(f"the header must hold exactly one block from {BEGIN} to {END}")
    block = header.split(BEGIN)[1].split(END)[0]
    lines = [line for line in block.splitlines() if not line.lstrip().startswith("#")]
    return "\n".join(lines).replace("VS_API ", "")


def main(header: str, out: str) -> None:
    """Parses the header and writes the C source."""
    from cffi import FFI

    ffi = FFI()
    ffi.cdef(declarations(Path(header).read_text(encoding="utf-8")))
    ffi.set_source("vecsql._core", '#include "csrc/memory/memory_index.h"\n', py_limited_api=True)
    ffi.emit_c_code(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
