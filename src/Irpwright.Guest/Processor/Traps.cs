using Iced.Intel;

namespace Irpwright.Guest.Processor;

/// <summary>Instructions that stop the processor, by design or for want of a model.</summary>
static unsafe class Traps
{
    static Op* Unimplemented(Cpu* cpu, Op* op) => Stop.Because(cpu, op, StopReason.Unimplemented);
    static Op* Privileged(Cpu* cpu, Op* op) => Stop.Because(cpu, op, StopReason.Privileged);
    static Op* Illegal(Cpu* cpu, Op* op) => Stop.Because(cpu, op, StopReason.IllegalInstruction);
    static Op* Breakpoint(Cpu* cpu, Op* op) => Stop.Because(cpu, op, StopReason.Breakpoint);
    static Op* FastFail(Cpu* cpu, Op* op) => Stop.Because(cpu, op, StopReason.FastFail);
    static Op* AssertionFailure(Cpu* cpu, Op* op) => Stop.Because(cpu, op, StopReason.AssertionFailure);

    /// <summary>The handler for an instruction that no family took.</summary>
    public static Handler For(in Instruction instruction) => instruction.Mnemonic switch
    {
        Mnemonic.INVALID or Mnemonic.Ud0 or Mnemonic.Ud1 or Mnemonic.Ud2 => &Illegal,
        // cpuid does not announce them, and cr4 does not enable them.
        Mnemonic.Xgetbv or Mnemonic.Xsetbv => &Illegal,
        Mnemonic.Int3 => &Breakpoint,
        Mnemonic.Int when instruction.Immediate8 == 0x03 => &Breakpoint,
        Mnemonic.Int when instruction.Immediate8 == 0x29 => &FastFail,
        Mnemonic.Int when instruction.Immediate8 == 0x2C => &AssertionFailure,
        _ when instruction.IsPrivileged => &Privileged,
        _ => &Unimplemented,
    };
}
