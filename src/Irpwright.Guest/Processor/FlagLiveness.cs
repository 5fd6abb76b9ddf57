using Iced.Intel;

namespace Irpwright.Guest.Processor;

/// <summary>Which flags each instruction of a straight line must really produce, found backwards from where they are read.</summary>
/// <remarks>
/// Flags are live where an exception may show them to a handler. They are dead at calls and returns, as every compiler's calling
/// convention has it. An instruction whose only purpose is a flag (cmp, test, bt, stc, ...) and whose flags reach a call or return unread
/// was written by hand to return one, and keeps it.
/// </remarks>
sealed class FlagLiveness
{
    const RflagsBits Arithmetic = RflagsBits.OF | RflagsBits.SF | RflagsBits.ZF | RflagsBits.AF | RflagsBits.CF | RflagsBits.PF;
    const int LookAhead = 12;

    readonly CodeBytes bytes;
    readonly Decoder decoder;
    uint[] live = new uint[256];

    /// <param name="bytes">To look ahead with.</param>
    public FlagLiveness(CodeBytes bytes)
    {
        this.bytes = bytes;
        decoder = Decoder.Create(64, bytes);
    }

    /// <summary>Per instruction the flags that are needed after it, as <see cref="RflagsBits"/>.</summary>
    public ReadOnlySpan<uint> Analyze(ReadOnlySpan<Instruction> run, Translator code)
    {
        if (live.Length < run.Length) live = new uint[run.Length];
        // needed: something reads them; escaping: they reach a call or return, unread.
        (RflagsBits needed, RflagsBits escaping) = After(run[^1], code);
        for (int i = run.Length - 1; i >= 0; i--)
        {
            ref readonly Instruction instruction = ref run[i];
            if (i < run.Length - 1 && instruction.FlowControl != FlowControl.Next)
            {
                (RflagsBits otherNeeded, RflagsBits otherEscaping) = After(instruction, code);
                if (instruction.FlowControl == FlowControl.ConditionalBranch)
                    (needed, escaping) = (needed | otherNeeded, escaping | otherEscaping);
                else
                    (needed, escaping) = (otherNeeded, otherEscaping);
            }
            live[i] = (uint)(IsFlagsOnly(instruction) ? needed | escaping : needed);
            Step(instruction, ref needed, ref escaping);
        }
        return live.AsSpan(0, run.Length);
    }

    /// <summary>What is known where an instruction leaves the straight line.</summary>
    (RflagsBits Needed, RflagsBits Escaping) After(in Instruction instruction, Translator code) => instruction.FlowControl switch
    {
        FlowControl.Call or FlowControl.IndirectCall or FlowControl.Return or FlowControl.IndirectBranch => (RflagsBits.None, Arithmetic),
        FlowControl.ConditionalBranch or FlowControl.UnconditionalBranch => (Needed(instruction.NearBranchTarget, code), RflagsBits.None),
        FlowControl.Next => (Needed(instruction.NextIP, code), RflagsBits.None),
        _ => (Arithmetic, RflagsBits.None),
    };

    /// <summary>Looks a few instructions ahead; what is still undecided then counts as needed.</summary>
    RflagsBits Needed(ulong rip, Translator code)
    {
        RflagsBits needed = RflagsBits.None, undecided = Arithmetic;
        for (int i = 0; i < LookAhead && undecided != RflagsBits.None; i++)
        {
            if (!code.TryPeek(decoder, bytes, rip, out Instruction instruction)) return needed | undecided;
            needed |= undecided & (MayFault(instruction) ? Arithmetic : instruction.RflagsRead);
            if (!MayKeepFlags(instruction)) undecided &= ~instruction.RflagsModified;
            switch (instruction.FlowControl)
            {
                case FlowControl.Next:
                    rip = instruction.NextIP;
                    break;
                case FlowControl.UnconditionalBranch:
                    rip = instruction.NearBranchTarget;
                    break;
                case FlowControl.Call or FlowControl.IndirectCall or FlowControl.Return or FlowControl.IndirectBranch:
                    return needed;
                default:
                    return needed | undecided;
            }
        }
        return needed | undecided;
    }

    static void Step(in Instruction instruction, ref RflagsBits needed, ref RflagsBits escaping)
    {
        RflagsBits read = instruction.RflagsRead & Arithmetic;
        bool mayFault = MayFault(instruction);
        if (!MayKeepFlags(instruction))
        {
            needed &= ~instruction.RflagsModified;
            escaping &= ~instruction.RflagsModified;
        }
        needed |= mayFault ? Arithmetic : read;
        // One reader is purpose enough: what a jump has tested need not survive to the return.
        if (read != RflagsBits.None) escaping = RflagsBits.None;
    }

    /// <summary>A count of zero leaves every flag alone.</summary>
    static bool MayKeepFlags(in Instruction instruction)
    {
        if (instruction.HasRepPrefix || instruction.HasRepnePrefix) return true;
        if (instruction.Mnemonic is not (Mnemonic.Shl or Mnemonic.Sal or Mnemonic.Shr or Mnemonic.Sar or Mnemonic.Rol or Mnemonic.Ror
            or Mnemonic.Rcl or Mnemonic.Rcr or Mnemonic.Shld or Mnemonic.Shrd)) return false;
        return instruction.GetOpKind(instruction.OpCount - 1) == OpKind.Register || (instruction.Immediate8 & 0x1F) == 0;
    }

    /// <summary>
    /// Whether an exception handler may look at the flags as they are before the instruction. Those that only reach the stack by rsp end
    /// the system if they fault.
    /// </summary>
    static bool MayFault(in Instruction instruction)
    {
        if (instruction.Mnemonic is Mnemonic.Div or Mnemonic.Idiv or Mnemonic.Int or Mnemonic.Int3 or Mnemonic.Lea or Mnemonic.Nop)
            return instruction.Mnemonic is not (Mnemonic.Lea or Mnemonic.Nop);
        for (int i = 0; i < instruction.OpCount; i++)
        {
            if (instruction.GetOpKind(i) is OpKind.Memory && instruction.MemoryBase is not (Register.RSP or Register.RIP) || IsString(instruction.GetOpKind(i))) return true;
        }
        return false;
    }

    static bool IsString(OpKind kind) => kind is >= OpKind.MemorySegSI and <= OpKind.MemoryESRDI;

    static bool IsFlagsOnly(in Instruction instruction) => instruction.Mnemonic
        is Mnemonic.Cmp or Mnemonic.Test or Mnemonic.Bt or Mnemonic.Stc or Mnemonic.Clc or Mnemonic.Cmc;
}
