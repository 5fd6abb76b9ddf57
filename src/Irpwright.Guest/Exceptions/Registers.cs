using Irpwright.Guest.Processor;
using Irpwright.Guest.Unwinding;
using Irpwright.Wdk;
using static Irpwright.Wdk.Constants;

namespace Irpwright.Guest.Exceptions;

/// <summary>Between the processor's registers and the form in which Windows shows them to handlers.</summary>
static unsafe class Registers
{
    // Selectors of kernel mode.
    const ushort KernelCode = 0x10, KernelStack = 0x18, UserData = 0x2B, UserTeb = 0x53;

    extension(ref CONTEXT context)
    {
        public void Save(Cpu* cpu)
        {
            context.ContextFlags = CONTEXT_FULL | CONTEXT_SEGMENTS;
            (context.SegCs, context.SegSs, context.SegFs) = (KernelCode, KernelStack, UserTeb);
            context.SegDs = context.SegEs = context.SegGs = UserData;
            context.EFlags = (uint)cpu->Rflags;
            context.MxCsr = context.FltSave.MxCsr = cpu->Mxcsr;
            context.Rip = cpu->Rip;
            for (int i = 0; i < 16; i++)
            {
                FrameUnwinder.Gpr(ref context, i) = cpu->Gpr[i];
                UInt128 xmm = cpu->XmmRegister(i);
                FrameUnwinder.Xmm(ref context, i) = new M128A { Low = (ulong)xmm, High = (long)(ulong)(xmm >> 64) };
            }
        }

        public void Load(Cpu* cpu)
        {
            CONTEXT from = context;
            if (Has(from, CONTEXT_CONTROL)) (cpu->Rip, cpu->Rsp, cpu->Rflags) = (from.Rip, from.Rsp, from.EFlags);
            if (Has(from, CONTEXT_INTEGER))
            {
                for (int i = 0; i < 16; i++)
                {
                    if (i != 4) cpu->Gpr[i] = FrameUnwinder.Gpr(ref from, i);
                }
            }
            if (Has(from, CONTEXT_FLOATING_POINT))
            {
                cpu->Mxcsr = from.MxCsr;
                for (int i = 0; i < 16; i++)
                {
                    M128A xmm = FrameUnwinder.Xmm(ref from, i);
                    cpu->XmmRegister(i) = new UInt128((ulong)xmm.High, xmm.Low);
                }
            }
        }
    }

    /// <summary>What a trap at these registers leaves on the stack.</summary>
    public static KTRAP_FRAME TrapFrameOf(in CONTEXT context) => new()
    {
        MxCsr = context.MxCsr,
        Rax = context.Rax,
        Rcx = context.Rcx,
        Rdx = context.Rdx,
        R8 = context.R8,
        R9 = context.R9,
        R10 = context.R10,
        R11 = context.R11,
        Xmm0 = context.Xmm0,
        Xmm1 = context.Xmm1,
        Xmm2 = context.Xmm2,
        Xmm3 = context.Xmm3,
        Xmm4 = context.Xmm4,
        Xmm5 = context.Xmm5,
        Rbp = context.Rbp,
        Rip = context.Rip,
        SegCs = context.SegCs,
        EFlags = context.EFlags,
        Rsp = context.Rsp,
        SegSs = context.SegSs,
    };

    static bool Has(in CONTEXT context, uint part) => (context.ContextFlags & part) == part;
}
