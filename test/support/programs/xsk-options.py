"""Prints SO_BUSY_POLL of each AF_XDP socket of a process."""
import ctypes
import os
import socket
import sys

PIDFD_GETFD = 438
AF_XDP = 44
SO_DOMAIN, SO_BUSY_POLL = 39, 46
libc = ctypes.CDLL(None, use_errno=True)


def option(descriptor, name):
    """By the C library: Python's own socket asks for a name, which AF_XDP has none of."""
    value, size = ctypes.c_int(), ctypes.c_uint(4)
    place = ctypes.byref(value), ctypes.byref(size)
    if libc.getsockopt(descriptor, socket.SOL_SOCKET, name, *place) < 0:
        sys.exit(os.strerror(ctypes.get_errno()))
    return value.value


pid = int(sys.argv[1])
pidfd = os.pidfd_open(pid)
for name in os.listdir(f'/proc/{pid}/fd'):
    if not os.readlink(f'/proc/{pid}/fd/{name}').startswith('socket:'):
        continue
    copy = libc.syscall(PIDFD_GETFD, pidfd, int(name), 0)
    if copy < 0:
        sys.exit(os.strerror(ctypes.get_errno()))
    if option(copy, SO_DOMAIN) == AF_XDP:
        print(option(copy, SO_BUSY_POLL))
    os.close(copy)
