using System.Runtime.CompilerServices;
using Iced.Intel;

namespace Irpwright.Guest.Processor;

/// <summary>What the translator needs from one instantiation of the handlers.</summary>
unsafe interface IInstructionSet
{
    /// <summary>Calls a C# routine, then returns to the guest's caller.</summary>
    Handler Trap { get; }
    /// <summary>The same for one that is known.</summary>
    Handler Thunk { get; }
    /// <summary>Finds a branch target when it is first taken.</summary>
    Handler Link { get; }
    /// <summary>Continues at the target, which is not counted as a branch of the guest.</summary>
    Handler Jump { get; }
    /// <summary>Continues with what its instruction is now.</summary>
    Handler Stale { get; }
    /// <summary>Tells the processor's owner that an interlocked instruction follows.</summary>
    Handler BeforeInterlocked { get; }

    /// <summary>Finds the operand that a handler missed, and runs it again.</summary>
    Handler Miss { get; }
    /// <summary>Translates what is at an address, and continues there.</summary>
    delegate*<Cpu*, ulong, Op*> Unknown { get; }

    /// <summary>
    /// Whether a chain ends at a conditional branch. Then nothing is translated that is not reached, which <see cref="Interpreter.HasReached"/>
    /// tells exactly.
    /// </summary>
    bool EndsAtBranches { get; }

    /// <summary>Appends the operations of the first instruction, or of the first two if they are one operation.</summary>
    /// <param name="live">Per instruction the flags that somebody reads.</param>
    /// <returns>The number of instructions taken.</returns>
    int Emit(Chain chain, ReadOnlySpan<Instruction> run, ReadOnlySpan<uint> live);
}

sealed unsafe class InstructionSet<TMode> : IInstructionSet where TMode : struct, IMode
{
    public bool EndsAtBranches => false;
    public Handler Trap => &Branch<TMode>.Trap;
    public Handler Thunk => &Branch<TMode>.Thunk;
    public Handler Link => &Branch<TMode>.Link;
    public Handler Jump => &Branch<TMode>.Continue;
    public Handler Stale => &Branch<TMode>.Stale;
    public Handler Miss => &GuestAccess<TMode>.Miss;
    public delegate*<Cpu*, ulong, Op*> Unknown => &Branch<TMode>.Unknown;
    public Handler BeforeInterlocked => &Control<TMode>.BeforeInterlocked;

    public int Emit(Chain chain, ReadOnlySpan<Instruction> run, ReadOnlySpan<uint> live)
    {
        ref readonly Instruction instruction = ref run[0];
        if (run.Length > 1 && Compare<TMode>.TryFuse(chain, instruction, run[1], live[1])) return 2;
        if (!TryEmit(chain, instruction, live[0])) chain.Add(instruction).Handler = Traps.For(instruction);
        return 1;
    }

    static bool TryEmit(Chain chain, in Instruction instruction, uint live)
    {
        bool keepFlags = (live & (uint)instruction.RflagsModified) != 0, keepCarry = (live & (uint)RflagsBits.CF) != 0;
        if (instruction.HasLockPrefix) return Atomics<TMode>.TryEmit(chain, instruction);
        return Move<TMode>.TryEmit(chain, instruction)
            || Alu<TMode>.TryEmit(chain, instruction, keepFlags, keepCarry)
            || Branch<TMode>.TryEmit(chain, instruction)
            || Stack<TMode>.TryEmit(chain, instruction)
            || Shift<TMode>.TryEmit(chain, instruction, keepFlags)
            || Multiply<TMode>.TryEmit(chain, instruction, keepFlags)
            || Bits<TMode>.TryEmit(chain, instruction)
            || BitFields<TMode>.TryEmit(chain, instruction)
            || Atomics<TMode>.TryEmit(chain, instruction)
            || Control<TMode>.TryEmit(chain, instruction)
            || SystemMove<TMode>.TryEmit(chain, instruction)
            || Ports<TMode>.TryEmit(chain, instruction)
            || Strings<TMode>.TryEmit(chain, instruction)
            || VectorMove<TMode>.TryEmit(chain, instruction)
            || VectorText<TMode>.TryEmit(chain, instruction)
            || Vector<TMode>.TryEmit(chain, instruction);
    }
}

/// <summary>Operand combinations which frequent instructions have handlers of their own for.</summary>
enum Form
{
    RegisterRegister, RegisterConstant, RegisterNear, RegisterFar, NearRegister, FarRegister, NearConstant, FarConstant,
    Register, Near, Far, Other,
}

/// <summary>Operands of a decoded instruction, as operations hold them.</summary>
static class OperandEncoding
{
    extension(Chain chain)
    {
        /// <summary>Appends an operation for an instruction with its operands where <see cref="Form"/> expects them.</summary>
        public ref Op AddWithOperands<TMode>(in Instruction instruction) where TMode : struct, IMode
        {
            ref Op op = ref chain.AddWithMemory<TMode>(instruction);
            for (int i = 0; i < instruction.OpCount; i++)
            {
                OpKind kind = instruction.GetOpKind(i);
                if (kind == OpKind.Register && i == 0) op.Destination = OffsetOf(instruction.Op0Register);
                else if (kind == OpKind.Register && i == 1) op.Source = OffsetOf(instruction.Op1Register);
                else if (IsImmediate(kind)) op.Immediate = instruction.GetImmediate(i);
            }
            return ref op;
        }

        /// <summary>Appends an operation with the instruction's memory operand, if it has one.</summary>
        public unsafe ref Op AddWithMemory<TMode>(in Instruction instruction) where TMode : struct, IMode
        {
            if (!HasMemory(instruction)) return ref chain.Add(instruction);
            ushort @base = OffsetOf(instruction.MemoryBase), index = OffsetOf(instruction.MemoryIndex);
            ushort segment = SegmentOf(instruction);
            bool narrow = IsNarrow(instruction.MemoryBase) || IsNarrow(instruction.MemoryIndex);
            byte scale = (byte)System.Numerics.BitOperations.Log2((uint)instruction.MemoryIndexScale);
            long displacement = (long)instruction.MemoryDisplacement64;
            if (narrow || (segment != Cpu.ZeroOffset && @base != Cpu.ZeroOffset && index != Cpu.ZeroOffset))
            {
                ref Op address = ref chain.Add(instruction);
                (address.Base, address.Index, address.Scale, address.Displacement) = (@base, index, scale, displacement);
                address.Destination = Cpu.TemporaryOffset;
                address.Handler = narrow ? &Move<TMode>.Address32 : &Move<TMode>.Address64;
                (@base, index, scale, displacement) = (Cpu.TemporaryOffset, Cpu.ZeroOffset, 0, 0);
            }
            if (segment != Cpu.ZeroOffset)
            {
                if (@base == Cpu.ZeroOffset) @base = segment;
                else (index, scale) = (segment, 0);
            }
            ref Op op = ref chain.Add(instruction);
            (op.Base, op.Index, op.Scale, op.Displacement, op.IsMemory) = (@base, index, scale, displacement, true);
            return ref op;
        }

        /// <summary>Appends an operation whose r/m operand is decided at run time; other registers and constants as usual.</summary>
        public ref Op AddWithRegisterOrMemory<TMode>(in Instruction instruction, int operand) where TMode : struct, IMode
        {
            ref Op op = ref chain.AddWithOperands<TMode>(instruction);
            if (!op.IsMemory) op.Base = OffsetOf(instruction.GetOpRegister(operand));
            return ref op;
        }
    }

    /// <summary>Where the base of the memory operand's segment lies in <see cref="Cpu"/>.</summary>
    public static ushort SegmentOf(in Instruction instruction) => instruction.MemorySegment switch
    {
        Register.GS => Cpu.GsBaseOffset,
        Register.FS => Cpu.FsBaseOffset,
        _ => Cpu.ZeroOffset,
    };

    /// <summary>The combination of the first two operands.</summary>
    public static Form FormOf(in Instruction instruction, in Op op)
    {
        bool near = op.Index == Cpu.ZeroOffset;
        OpKind second = instruction.OpCount > 1 ? instruction.Op1Kind : OpKind.Register;
        if (instruction.OpCount == 1)
        {
            return instruction.Op0Kind switch
            {
                OpKind.Memory => near ? Form.Near : Form.Far,
                OpKind.Register => Form.Register,
                _ => Form.Other,
            };
        }
        return instruction.Op0Kind switch
        {
            OpKind.Register when second == OpKind.Register => Form.RegisterRegister,
            OpKind.Register when second == OpKind.Memory => near ? Form.RegisterNear : Form.RegisterFar,
            OpKind.Register when IsImmediate(second) => Form.RegisterConstant,
            OpKind.Memory when second == OpKind.Register => near ? Form.NearRegister : Form.FarRegister,
            OpKind.Memory when IsImmediate(second) => near ? Form.NearConstant : Form.FarConstant,
            _ => Form.Other,
        };
    }

    /// <summary>Size in bytes of an operand.</summary>
    public static int SizeOf(in Instruction instruction, int operand) => instruction.GetOpKind(operand) == OpKind.Register
        ? instruction.GetOpRegister(operand).GetSize()
        : instruction.MemorySize.GetSize();

    /// <summary>Where a register lies in <see cref="Cpu"/>.</summary>
    public static ushort OffsetOf(Register register) => register switch
    {
        Register.None or Register.RIP or Register.EIP => Cpu.ZeroOffset,
        >= Register.AH and <= Register.BH => (ushort)(8 * (register - Register.AH) + 1),
        >= Register.XMM0 and <= Register.XMM15 => (ushort)(Cpu.XmmOffset + 16 * (register - Register.XMM0)),
        _ when register.IsGPR() => (ushort)(8 * (register.GetFullRegister() - Register.RAX)),
        _ => throw new ArgumentOutOfRangeException(nameof(register), register, "has no place in Cpu"),
    };

    public static bool IsImmediate(OpKind kind) => kind is >= OpKind.Immediate8 and <= OpKind.Immediate32to64;

    /// <summary>Addresses made of such registers are computed in 32 bits.</summary>
    static bool IsNarrow(Register register) => register is (>= Register.EAX and <= Register.R15D) or Register.EIP;

    static bool HasMemory(in Instruction instruction)
    {
        for (int i = 0; i < instruction.OpCount; i++)
        {
            if (instruction.GetOpKind(i) == OpKind.Memory) return true;
        }
        return false;
    }
}
