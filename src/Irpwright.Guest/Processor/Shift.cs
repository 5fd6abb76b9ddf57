using System.Runtime.CompilerServices;
using Iced.Intel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Processor;

/// <summary>A shift or rotate by a count that is not zero.</summary>
interface IShift
{
    /// <summary>Rotates leave ZF, SF, PF and AF alone.</summary>
    static abstract bool IsRotate { get; }
    static abstract ulong Compute<TWidth>(ulong value, int count) where TWidth : struct, IWidth;
    static abstract bool Carry<TWidth>(ulong value, int count, ulong result) where TWidth : struct, IWidth;
    /// <summary>Defined by the architecture for a count of one; computed the same way for others.</summary>
    static abstract bool Overflow<TWidth>(ulong value, ulong result, bool carry) where TWidth : struct, IWidth;
}

struct Shl : IShift
{
    public static bool IsRotate => false;
    public static ulong Compute<TWidth>(ulong value, int count) where TWidth : struct, IWidth => value << count;
    // A count beyond the width makes the shift distance wrap to one that leaves nothing.
    public static bool Carry<TWidth>(ulong value, int count, ulong result) where TWidth : struct, IWidth =>
        ((value >> (TWidth.Bits - count)) & 1) != 0;
    public static bool Overflow<TWidth>(ulong value, ulong result, bool carry) where TWidth : struct, IWidth =>
        (TWidth.Extend(result) < 0) != carry;
}

struct Shr : IShift
{
    public static bool IsRotate => false;
    public static ulong Compute<TWidth>(ulong value, int count) where TWidth : struct, IWidth => value >> count;
    public static bool Carry<TWidth>(ulong value, int count, ulong result) where TWidth : struct, IWidth =>
        ((value >> (count - 1)) & 1) != 0;
    public static bool Overflow<TWidth>(ulong value, ulong result, bool carry) where TWidth : struct, IWidth => TWidth.Extend(value) < 0;
}

struct Sar : IShift
{
    public static bool IsRotate => false;
    public static ulong Compute<TWidth>(ulong value, int count) where TWidth : struct, IWidth => (ulong)(TWidth.Extend(value) >> count);
    public static bool Carry<TWidth>(ulong value, int count, ulong result) where TWidth : struct, IWidth =>
        ((TWidth.Extend(value) >> (count - 1)) & 1) != 0;
    public static bool Overflow<TWidth>(ulong value, ulong result, bool carry) where TWidth : struct, IWidth => false;
}

struct Rol : IShift
{
    public static bool IsRotate => true;
    public static ulong Compute<TWidth>(ulong value, int count) where TWidth : struct, IWidth
    {
        int distance = count & (TWidth.Bits - 1);
        return distance == 0 ? value : (value << distance) | (value >> (TWidth.Bits - distance));
    }
    public static bool Carry<TWidth>(ulong value, int count, ulong result) where TWidth : struct, IWidth => (result & 1) != 0;
    public static bool Overflow<TWidth>(ulong value, ulong result, bool carry) where TWidth : struct, IWidth =>
        (TWidth.Extend(result) < 0) != carry;
}

struct Ror : IShift
{
    public static bool IsRotate => true;
    public static ulong Compute<TWidth>(ulong value, int count) where TWidth : struct, IWidth
    {
        int distance = count & (TWidth.Bits - 1);
        return distance == 0 ? value : (value >> distance) | (value << (TWidth.Bits - distance));
    }
    public static bool Carry<TWidth>(ulong value, int count, ulong result) where TWidth : struct, IWidth => TWidth.Extend(result) < 0;
    public static bool Overflow<TWidth>(ulong value, ulong result, bool carry) where TWidth : struct, IWidth =>
        TWidth.Extend(result ^ (result << 1)) < 0;
}

/// <summary>shl shr sar rol ror rcl rcr shld shrd.</summary>
static unsafe class Shift<TMode> where TMode : struct, IMode
{
    static int Mask<TWidth>() where TWidth : struct, IWidth => TWidth.Bits == 64 ? 63 : 31;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Single<TShift, TWidth, TOperand, TCount, TFlags>(Cpu* cpu, Op* op)
        where TShift : struct, IShift where TWidth : struct, IWidth where TOperand : struct, IOperand where TCount : struct, IOperand
        where TFlags : struct, IFlagUse
    {
        byte* at = TOperand.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Write);
        if (TOperand.CanFault && at == null) return TMode.Missed(cpu, op);
        int count = *TCount.Locate<TMode>(cpu, op, 1, PageAccess.Read) & Mask<TWidth>();
        ulong value = TWidth.Load(at);
        // Even a count of zero writes the register, which clears the upper half of a 32-bit one.
        ulong result = count == 0 ? value : TShift.Compute<TWidth>(value, count);
        TOperand.Store<TWidth>(op, at, result);
        if (TFlags.Live && count != 0)
        {
            bool carry = TShift.Carry<TWidth>(value, count, result);
            bool overflow = TShift.Overflow<TWidth>(value, result, carry);
            if (TShift.IsRotate) cpu->Flags.SetCarryOverflow(carry, overflow);
            else cpu->Flags.SetResult(TWidth.Extend(result), carry, overflow);
        }
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>rcl and rcr, one bit at a time: the carry is part of what rotates.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* ThroughCarry<TWidth, TCount>(Cpu* cpu, Op* op) where TWidth : struct, IWidth where TCount : struct, IOperand
    {
        byte* at = RegisterOrMemory.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Write);
        if (at == null) return TMode.Missed(cpu, op);
        int count = (*TCount.Locate<TMode>(cpu, op, 1, PageAccess.Read) & Mask<TWidth>()) % (TWidth.Bits + 1);
        ulong value = TWidth.Load(at);
        bool left = op->Extra != 0;
        ulong carry = cpu->Flags.Aux >> 31;
        for (int i = 0; i < count; i++)
        {
            ulong moved = left ? value >> (TWidth.Bits - 1) & 1 : value & 1;
            value = left ? value << 1 | carry : value >> 1 | carry << (TWidth.Bits - 1);
            if (TWidth.Bits < 64) value &= (1UL << (TWidth.Bits & 63)) - 1;
            carry = moved;
        }
        RegisterOrMemory.Store<TWidth>(op, at, value);
        if (count != 0)
        {
            bool top = TWidth.Extend(value) < 0;
            cpu->Flags.SetCarryOverflow(carry != 0, left ? top != (carry != 0) : top != TWidth.Extend(value << 1) < 0);
        }
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>shld and shrd.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Double<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        byte* at = RegisterOrMemory.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Write);
        if (at == null) return TMode.Missed(cpu, op);
        bool left = (op->Extra & 1) != 0, byRegister = (op->Extra & 2) != 0;
        int count = (int)(byRegister ? cpu->Rcx : op->Immediate) & Mask<TWidth>();
        ulong value = TWidth.Load(at), fill = TWidth.Load((byte*)cpu + op->Source);
        if (count == 0)
        {
            RegisterOrMemory.Store<TWidth>(op, at, value);
            return TMode.Next(cpu, op + 1);
        }
        ulong result = left ? value << count | fill >> (TWidth.Bits - count) : value >> count | fill << (TWidth.Bits - count);
        bool carry = ((left ? value >> (TWidth.Bits - count) : value >> (count - 1)) & 1) != 0;
        RegisterOrMemory.Store<TWidth>(op, at, result);
        cpu->Flags.SetResult(TWidth.Extend(result), carry, TWidth.Extend(value ^ result) < 0);
        return TMode.Next(cpu, op + 1);
    }

    public static bool TryEmit(Chain chain, in Instruction instruction, bool keepFlags) => instruction.Mnemonic switch
    {
        Mnemonic.Shl or Mnemonic.Sal => EmitSingle<Shl>(chain, instruction, keepFlags),
        Mnemonic.Shr => EmitSingle<Shr>(chain, instruction, keepFlags),
        Mnemonic.Sar => EmitSingle<Sar>(chain, instruction, keepFlags),
        Mnemonic.Rol => EmitSingle<Rol>(chain, instruction, keepFlags),
        Mnemonic.Ror => EmitSingle<Ror>(chain, instruction, keepFlags),
        Mnemonic.Rcl or Mnemonic.Rcr => EmitThroughCarry(chain, instruction),
        Mnemonic.Shld or Mnemonic.Shrd => EmitDouble(chain, instruction),
        _ => false,
    };

    static bool EmitSingle<TShift>(Chain chain, in Instruction instruction, bool keepFlags) where TShift : struct, IShift
    {
        ref Op op = ref chain.AddWithOperands<TMode>(instruction);
        bool byRegister = instruction.Op1Kind == OpKind.Register;
        op.Handler = (OperandEncoding.SizeOf(instruction, 0), keepFlags) switch
        {
            (1, _) => Select<TShift, W8, FlagsLive>(op.IsMemory, byRegister),
            (2, _) => Select<TShift, W16, FlagsLive>(op.IsMemory, byRegister),
            (4, true) => Select<TShift, W32, FlagsLive>(op.IsMemory, byRegister),
            (4, false) => Select<TShift, W32, FlagsDead>(op.IsMemory, byRegister),
            (_, true) => Select<TShift, W64, FlagsLive>(op.IsMemory, byRegister),
            _ => Select<TShift, W64, FlagsDead>(op.IsMemory, byRegister),
        };
        return true;
    }

    static Handler Select<TShift, TWidth, TFlags>(bool memory, bool byRegister)
        where TShift : struct, IShift where TWidth : struct, IWidth where TFlags : struct, IFlagUse => (memory, byRegister) switch
    {
        (false, false) => &Single<TShift, TWidth, First, Constant, TFlags>,
        (false, true) => &Single<TShift, TWidth, First, Second, TFlags>,
        (true, false) => &Single<TShift, TWidth, Far, Constant, TFlags>,
        (true, true) => &Single<TShift, TWidth, Far, Second, TFlags>,
    };

    static bool EmitThroughCarry(Chain chain, in Instruction instruction)
    {
        ref Op op = ref chain.AddWithRegisterOrMemory<TMode>(instruction, 0);
        op.Extra = instruction.Mnemonic == Mnemonic.Rcl ? (byte)1 : (byte)0;
        bool byRegister = instruction.Op1Kind == OpKind.Register;
        op.Handler = OperandEncoding.SizeOf(instruction, 0) switch
        {
            1 => byRegister ? &ThroughCarry<W8, Second> : &ThroughCarry<W8, Constant>,
            2 => byRegister ? &ThroughCarry<W16, Second> : &ThroughCarry<W16, Constant>,
            4 => byRegister ? &ThroughCarry<W32, Second> : &ThroughCarry<W32, Constant>,
            _ => byRegister ? &ThroughCarry<W64, Second> : &ThroughCarry<W64, Constant>,
        };
        return true;
    }

    static bool EmitDouble(Chain chain, in Instruction instruction)
    {
        ref Op op = ref chain.AddWithRegisterOrMemory<TMode>(instruction, 0);
        op.Extra = (byte)((instruction.Mnemonic == Mnemonic.Shld ? 1 : 0) | (instruction.Op2Kind == OpKind.Register ? 2 : 0));
        op.Handler = OperandEncoding.SizeOf(instruction, 0) switch
        {
            2 => &Double<W16>,
            4 => &Double<W32>,
            _ => &Double<W64>,
        };
        return true;
    }
}
