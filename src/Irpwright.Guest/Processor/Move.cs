using System.Runtime.CompilerServices;
using Iced.Intel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Processor;

/// <summary>mov movzx movsx movsxd lea xlat.</summary>
static unsafe class Move<TMode> where TMode : struct, IMode
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Copy<TWidth, TTo, TFrom>(Cpu* cpu, Op* op)
        where TWidth : struct, IWidth where TTo : struct, IOperand where TFrom : struct, IOperand
    {
        byte* from = TFrom.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Read);
        if (TFrom.CanFault && from == null) return TMode.Missed(cpu, op);
        byte* to = TTo.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Write);
        if (TTo.CanFault && to == null) return TMode.Missed(cpu, op);
        TTo.Store<TWidth>(op, to, TWidth.Load(from));
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* ZeroExtend<TNarrow, TFrom>(Cpu* cpu, Op* op) where TNarrow : struct, IWidth where TFrom : struct, IOperand
    {
        byte* from = TFrom.Locate<TMode>(cpu, op, TNarrow.Size, PageAccess.Read);
        if (TFrom.CanFault && from == null) return TMode.Missed(cpu, op);
        *(ulong*)((byte*)cpu + op->Destination) = TNarrow.Load(from);
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* SignExtend<TNarrow, TWidth, TFrom>(Cpu* cpu, Op* op)
        where TNarrow : struct, IWidth where TWidth : struct, IWidth where TFrom : struct, IOperand
    {
        byte* from = TFrom.Locate<TMode>(cpu, op, TNarrow.Size, PageAccess.Read);
        if (TFrom.CanFault && from == null) return TMode.Missed(cpu, op);
        TWidth.StoreRegister((byte*)cpu + op->Destination, (ulong)TNarrow.Extend(TNarrow.Load(from)));
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>movzx to 16 bits, which leaves the rest of the register alone.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* ZeroExtend8To16(Cpu* cpu, Op* op)
    {
        byte* from = RegisterOrMemory.Locate<TMode>(cpu, op, 1, PageAccess.Read);
        if (from == null) return TMode.Missed(cpu, op);
        *(ushort*)((byte*)cpu + op->Destination) = *from;
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* LoadAddress<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        TWidth.StoreRegister((byte*)cpu + op->Destination, Far.Address(cpu, op));
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* LoadNearAddress(Cpu* cpu, Op* op)
    {
        *(ulong*)((byte*)cpu + op->Destination) = *(ulong*)((byte*)cpu + op->Base) + (ulong)op->Displacement;
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>An address of three parts, into a register that instructions cannot name.</summary>
    public static Op* Address64(Cpu* cpu, Op* op) => LoadAddress<W64>(cpu, op);

    /// <summary>An address computed in 32 bits (prefix 67h).</summary>
    public static Op* Address32(Cpu* cpu, Op* op) => LoadAddress<W32>(cpu, op);

    /// <summary>xlat: al becomes the byte at rbx + al; the base lies in <see cref="Op.Base"/>, a segment's in <see cref="Op.Index"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* LookUp(Cpu* cpu, Op* op)
    {
        byte* from = TMode.Translate(cpu, op, Far.Address(cpu, op) + (byte)cpu->Rax, 1, PageAccess.Read);
        if (from == null) return TMode.Missed(cpu, op);
        *(byte*)&cpu->Rax = *from;
        return TMode.Next(cpu, op + 1);
    }

    public static bool TryEmit(Chain chain, in Instruction instruction) => instruction.Mnemonic switch
    {
        Mnemonic.Mov => TryEmitCopy(chain, instruction),
        Mnemonic.Movzx => EmitZeroExtend(chain, instruction),
        Mnemonic.Movsx or Mnemonic.Movsxd => EmitSignExtend(chain, instruction),
        Mnemonic.Lea => EmitLoadAddress(chain, instruction),
        Mnemonic.Xlatb when instruction.MemoryBase == Register.RBX => EmitLookUp(chain, instruction),
        _ => false,
    };

    static bool TryEmitCopy(Chain chain, in Instruction instruction)
    {
        // Moves to and from segment, control and debug registers are somebody else's.
        if (!IsGeneral(instruction, 0) || !IsGeneral(instruction, 1)) return false;
        ref Op op = ref chain.AddWithOperands<TMode>(instruction);
        Form form = OperandEncoding.FormOf(instruction, op);
        op.Handler = OperandEncoding.SizeOf(instruction, 0) switch
        {
            1 => SelectCopy<W8>(form),
            2 => SelectCopy<W16>(form),
            4 => SelectCopy<W32>(form),
            _ => SelectCopy<W64>(form),
        };
        return true;
    }

    static bool IsGeneral(in Instruction instruction, int operand) =>
        instruction.GetOpKind(operand) != OpKind.Register || instruction.GetOpRegister(operand).IsGPR();

    static Handler SelectCopy<TWidth>(Form form) where TWidth : struct, IWidth => form switch
    {
        Form.RegisterRegister => &Copy<TWidth, First, Second>,
        Form.RegisterConstant => &Copy<TWidth, First, Constant>,
        Form.RegisterNear => &Copy<TWidth, First, Near>,
        Form.RegisterFar => &Copy<TWidth, First, Far>,
        Form.NearRegister => &Copy<TWidth, Near, Second>,
        Form.FarRegister => &Copy<TWidth, Far, Second>,
        Form.NearConstant => &Copy<TWidth, Near, Constant>,
        _ => &Copy<TWidth, Far, Constant>,
    };

    static bool EmitZeroExtend(Chain chain, in Instruction instruction)
    {
        ref Op op = ref chain.AddWithRegisterOrMemory<TMode>(instruction, 1);
        bool fromByte = OperandEncoding.SizeOf(instruction, 1) == 1;
        Form form = OperandEncoding.FormOf(instruction, op);
        if (instruction.Op0Register.GetSize() == 2) op.Handler = fromByte ? &ZeroExtend8To16 : &Copy<W16, First, RegisterOrMemory>;
        else op.Handler = fromByte ? SelectZeroExtend<W8>(form) : SelectZeroExtend<W16>(form);
        return true;
    }

    static Handler SelectZeroExtend<TNarrow>(Form form) where TNarrow : struct, IWidth => form switch
    {
        Form.RegisterRegister => &ZeroExtend<TNarrow, Second>,
        Form.RegisterNear => &ZeroExtend<TNarrow, Near>,
        _ => &ZeroExtend<TNarrow, Far>,
    };

    static bool EmitSignExtend(Chain chain, in Instruction instruction)
    {
        ref Op op = ref chain.AddWithRegisterOrMemory<TMode>(instruction, 1);
        int to = instruction.Op0Register.GetSize();
        op.Handler = OperandEncoding.SizeOf(instruction, 1) switch
        {
            1 => SelectSignExtend<W8>(to),
            2 => SelectSignExtend<W16>(to),
            _ => SelectSignExtend<W32>(to),
        };
        return true;
    }

    static Handler SelectSignExtend<TNarrow>(int to) where TNarrow : struct, IWidth => to switch
    {
        2 => &SignExtend<TNarrow, W16, RegisterOrMemory>,
        4 => &SignExtend<TNarrow, W32, RegisterOrMemory>,
        _ => &SignExtend<TNarrow, W64, RegisterOrMemory>,
    };

    static bool EmitLookUp(Chain chain, in Instruction instruction)
    {
        ref Op op = ref chain.Add(instruction);
        op.Base = OperandEncoding.OffsetOf(Register.RBX);
        op.Index = OperandEncoding.SegmentOf(instruction);
        op.Handler = &LookUp;
        return true;
    }

    static bool EmitLoadAddress(Chain chain, in Instruction instruction)
    {
        // lea does not know segments.
        Instruction flat = instruction;
        flat.SegmentPrefix = Register.None;
        ref Op op = ref chain.AddWithOperands<TMode>(flat);
        op.Handler = instruction.Op0Register.GetSize() switch
        {
            2 => &LoadAddress<W16>,
            4 => &LoadAddress<W32>,
            _ => op.Index == Cpu.ZeroOffset ? &LoadNearAddress : &LoadAddress<W64>,
        };
        return true;
    }
}
