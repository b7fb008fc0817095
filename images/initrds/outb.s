# outb PORT VALUE: writes a byte, given in decimal, to an I/O port.
#
# The shell's way would be /dev/port, but Debian's cloud kernels are built without
# it (CONFIG_DEVPORT). They have ioperm(2). In assembly, since that needs no compiler:
# binutils are wanted for objcopy anyway.

        .equ    IOPERM, 173
        .equ    EXIT, 60

        .globl  _start
        .text
_start: cmpq    $3, (%rsp)              # argc
        jne     failed
        mov     16(%rsp), %rsi          # argv[1]
        call    number
        mov     %eax, %ebx
        mov     24(%rsp), %rsi          # argv[2]
        call    number
        mov     %eax, %ebp

        mov     %ebx, %edi              # ioperm(port, 1, on)
        mov     $1, %esi
        mov     $1, %edx
        mov     $IOPERM, %eax
        syscall
        test    %eax, %eax
        jnz     failed

        mov     %ebx, %edx
        mov     %ebp, %eax
        out     %al, %dx
        xor     %edi, %edi
        jmp     leave
failed: mov     $1, %edi
leave:  mov     $EXIT, %eax
        syscall

# The decimal number at %rsi, in %eax.
number: xor     %eax, %eax
digit:  movzbl  (%rsi), %ecx
        sub     $'0', %ecx
        cmp     $9, %ecx
        ja      done
        imul    $10, %eax
        add     %ecx, %eax
        inc     %rsi
        jmp     digit
done:   ret

        .section .note.GNU-stack, "", @progbits
