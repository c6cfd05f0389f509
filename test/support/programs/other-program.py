"""Marks pinned steering programs as another version's. Arguments: the directory of each device."""
import ctypes
import os
import struct
import sys

# bpf(2) on x86-64 and on the architectures of the generic table.
SYS_BPF = 321 if os.uname().machine == 'x86_64' else 280
BPF_MAP_UPDATE_ELEM, BPF_OBJ_GET = 2, 7
OBJECT_HASH = 1

libc = ctypes.CDLL(None, use_errno=True)


def bpf(command, attributes):
    memory = ctypes.create_string_buffer(attributes, 128)
    result = libc.syscall(SYS_BPF, command, memory, 128)
    if result < 0:
        sys.exit(os.strerror(ctypes.get_errno()))
    return result


for directory in sys.argv[1:]:
    path = ctypes.create_string_buffer(os.path.join(directory, 'settings').encode())
    settings = bpf(BPF_OBJ_GET, struct.pack('=QII', ctypes.addressof(path), 0, 0))
    key, value = ctypes.c_uint32(OBJECT_HASH), ctypes.c_uint32(0)
    place = ctypes.addressof(key), ctypes.addressof(value)
    bpf(BPF_MAP_UPDATE_ELEM, struct.pack('=IIQQQ', settings, 0, *place, 0))
    print('marked', directory)
