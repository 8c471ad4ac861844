"""What runs programs of another processor here: a namespace with QEMU, and a plugin that counts."""
