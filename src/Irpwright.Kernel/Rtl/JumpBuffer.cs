using System.Runtime.InteropServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>What setjmp stores on x64 (_JUMP_BUFFER of setjmp.h): the registers that a routine must keep, and where it was called.</summary>
[StructLayout(LayoutKind.Explicit, Size = 0x100)]
public struct JumpBuffer
{
    [FieldOffset(0x00)] internal ulong Frame;
    [FieldOffset(0x08)] ulong rbx;
    [FieldOffset(0x10)] ulong rsp;
    [FieldOffset(0x18)] ulong rbp;
    [FieldOffset(0x20)] ulong rsi;
    [FieldOffset(0x28)] ulong rdi;
    [FieldOffset(0x30)] ulong r12;
    [FieldOffset(0x38)] ulong r13;
    [FieldOffset(0x40)] ulong r14;
    [FieldOffset(0x48)] ulong r15;
    [FieldOffset(0x50)] internal ulong Rip;
    [FieldOffset(0x58)] uint mxcsr;
    [FieldOffset(0x5C)] ushort fpcsr;
    [FieldOffset(0x60)] M128A xmm6;
    [FieldOffset(0x70)] M128A xmm7;
    [FieldOffset(0x80)] M128A xmm8;
    [FieldOffset(0x90)] M128A xmm9;
    [FieldOffset(0xA0)] M128A xmm10;
    [FieldOffset(0xB0)] M128A xmm11;
    [FieldOffset(0xC0)] M128A xmm12;
    [FieldOffset(0xD0)] M128A xmm13;
    [FieldOffset(0xE0)] M128A xmm14;
    [FieldOffset(0xF0)] M128A xmm15;

    /// <summary>The buffer of the longjmp that an exception record stands for; null for any other.</summary>
    public static JumpBuffer? OfJump(in EXCEPTION_RECORD record) => record is { ExceptionCode: NTSTATUS.STATUS_LONGJUMP, NumberParameters: > 0 }
        ? GuestMemory.Ref<JumpBuffer>(record.ExceptionInformation[0]) : null;

    internal void Save(in CONTEXT context, ulong frame)
    {
        const ushort maskAllExceptions = 0x27F;
        Frame = frame;
        (rbx, rsp, rbp, rsi, rdi) = (context.Rbx, context.Rsp, context.Rbp, context.Rsi, context.Rdi);
        (r12, r13, r14, r15) = (context.R12, context.R13, context.R14, context.R15);
        (Rip, mxcsr, fpcsr) = (context.Rip, context.MxCsr, maskAllExceptions);
        (xmm6, xmm7, xmm8, xmm9, xmm10) = (context.Xmm6, context.Xmm7, context.Xmm8, context.Xmm9, context.Xmm10);
        (xmm11, xmm12, xmm13, xmm14, xmm15) = (context.Xmm11, context.Xmm12, context.Xmm13, context.Xmm14, context.Xmm15);
    }

    /// <summary>Puts the registers that were kept into a context.</summary>
    public readonly void Restore(ref CONTEXT context)
    {
        (context.Rbx, context.Rsp, context.Rbp, context.Rsi, context.Rdi) = (rbx, rsp, rbp, rsi, rdi);
        (context.R12, context.R13, context.R14, context.R15) = (r12, r13, r14, r15);
        (context.Rip, context.MxCsr) = (Rip, mxcsr);
        (context.Xmm6, context.Xmm7, context.Xmm8, context.Xmm9, context.Xmm10) = (xmm6, xmm7, xmm8, xmm9, xmm10);
        (context.Xmm11, context.Xmm12, context.Xmm13, context.Xmm14, context.Xmm15) = (xmm11, xmm12, xmm13, xmm14, xmm15);
    }
}
