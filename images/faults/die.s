# die: a program that dies by its own fault, a write to address 0. A signal that
# process 1 sends itself would be ignored.

        .globl  _start
        .text
_start: xor     %eax, %eax
        movb    $0, (%rax)

        .section .note.GNU-stack, "", @progbits
