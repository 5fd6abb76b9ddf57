using System.Runtime.InteropServices;
using Iced.Intel;
using Irpwright.Guest.Processor;

namespace Irpwright.Guest.Checks;

/// <summary>An instruction, and what it uses: for <see cref="Inspection"/>.</summary>
[StructLayout(LayoutKind.Sequential)]
unsafe struct InspectionPlan
{
    /// <summary><see cref="Kernel.ByteState.Uninitialized"/> in each byte of a word.</summary>
    public const ulong EveryByte = 0x0101_0101_0101_0101;

    public const int Most = 8;

    /// <summary>The handler that looks at it.</summary>
    public Handler Inspect;
    public Instruction Instruction;
    /// <summary>Registers that it reads and writes, as offsets into <see cref="Cpu"/>, without rsp, and the bytes of each that count.</summary>
    public fixed ushort Inputs[Most], Outputs[Most];
    public fixed byte InputSizes[Most], OutputSizes[Most];
    public int InputCount, OutputCount;
    public bool ReadsFlags, WritesFlags, IsVector;
    /// <summary>An operand is neither a general nor an xmm register: nothing is known of those.</summary>
    public bool UsesOtherRegisters;
    /// <summary>The next instruction is a jump that reads the flags, and both are one operation.</summary>
    public bool JumpFollows;
    /// <summary>What is done to the explicit memory operand, and its size.</summary>
    public bool ReadsMemory, WritesMemory;
    public int MemorySize;

    /// <summary>Fills in what the registers and flags are.</summary>
    /// <returns>False if there are more than one instruction ever has.</returns>
    public bool TryFill(in Instruction instruction, InstructionInfoFactory factory)
    {
        Instruction = instruction;
        InstructionInfo info = factory.GetInfo(instruction);
        ReadsFlags = (instruction.RflagsRead & FlagsOfInterest) != RflagsBits.None;
        WritesFlags = (instruction.RflagsModified & FlagsOfInterest) != RflagsBits.None;
        foreach (UsedRegister used in info.GetUsedRegisters())
        {
            Register register = used.Register;
            bool isVector = register is >= Register.XMM0 and <= Register.XMM15;
            IsVector |= isVector;
            if (!isVector && !register.IsGPR() || register.GetFullRegister() == Register.RSP) continue;
            ushort offset = OperandEncoding.OffsetOf(register);
            byte size = (byte)register.GetSize();
            if (used.Access is OpAccess.Read or OpAccess.CondRead or OpAccess.ReadWrite or OpAccess.ReadCondWrite or OpAccess.CondWrite)
            {
                if (InputCount == Most) return false;
                Inputs[InputCount] = offset;
                InputSizes[InputCount++] = size;
            }
            if (used.Access is OpAccess.Write or OpAccess.CondWrite or OpAccess.ReadWrite or OpAccess.ReadCondWrite)
            {
                if (OutputCount == Most) return false;
                Outputs[OutputCount] = offset;
                OutputSizes[OutputCount++] = size;
            }
        }
        for (int i = 0; i < instruction.OpCount; i++)
        {
            UsesOtherRegisters |= instruction.GetOpKind(i) == OpKind.Register && !instruction.GetOpRegister(i).IsGPR() && !instruction.GetOpRegister(i).IsXMM();
            if (instruction.GetOpKind(i) != OpKind.Memory) continue;
            OpAccess access = info.GetOpAccess(i);
            ReadsMemory = access is OpAccess.Read or OpAccess.CondRead or OpAccess.ReadWrite or OpAccess.ReadCondWrite;
            WritesMemory = access is OpAccess.Write or OpAccess.CondWrite or OpAccess.ReadWrite or OpAccess.ReadCondWrite;
            MemorySize = instruction.MemorySize.GetSize();
        }
        return true;
    }

    const RflagsBits FlagsOfInterest = RflagsBits.CF | RflagsBits.PF | RflagsBits.AF | RflagsBits.ZF | RflagsBits.SF | RflagsBits.OF;
}
