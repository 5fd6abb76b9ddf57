using System.Runtime.CompilerServices;
using Iced.Intel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Processor;

/// <summary>Atomic access of any width and alignment to memory that real threads share.</summary>
static unsafe class Atomic
{
    // Hosts differ in what they do with a misaligned atomic access. Two such accesses exclude each other here; against plain ones they
    // are not atomic.
    static readonly Lock Misaligned = new();

    /// <summary>Stores a value if the old one is as expected; returns the old one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong CompareExchange<TWidth>(byte* at, ulong value, ulong expected) where TWidth : struct, IWidth
    {
        if (((nuint)at & (nuint)(TWidth.Size - 1)) != 0) return CompareExchangeMisaligned<TWidth>(at, value, expected);
        return TWidth.Size switch
        {
            1 => Interlocked.CompareExchange(ref *at, (byte)value, (byte)expected),
            2 => Interlocked.CompareExchange(ref *(ushort*)at, (ushort)value, (ushort)expected),
            4 => Interlocked.CompareExchange(ref *(uint*)at, (uint)value, (uint)expected),
            _ => Interlocked.CompareExchange(ref *(ulong*)at, value, expected),
        };
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static ulong CompareExchangeMisaligned<TWidth>(byte* at, ulong value, ulong expected) where TWidth : struct, IWidth
    {
        lock (Misaligned)
        {
            ulong old = TWidth.Load(at);
            if (old == expected) TWidth.Store(at, value);
            return old;
        }
    }

    /// <summary>cmpxchg16b: .NET has no 16-byte exchange, so this is atomic against its like, not against plain stores.</summary>
    public static bool CompareExchange16(byte* at, ulong low, ulong high, ref ulong expectedLow, ref ulong expectedHigh)
    {
        lock (Misaligned)
        {
            ulong* pair = (ulong*)at;
            if (pair[0] == expectedLow && pair[1] == expectedHigh)
            {
                pair[0] = low;
                pair[1] = high;
                return true;
            }
            expectedLow = pair[0];
            expectedHigh = pair[1];
            return false;
        }
    }
}

/// <summary>xchg cmpxchg xadd cmpxchg8b cmpxchg16b, and everything with a lock prefix.</summary>
static unsafe class Atomics<TMode> where TMode : struct, IMode
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Binary<TOperation, TWidth, TRight>(Cpu* cpu, Op* op)
        where TOperation : struct, IBinary where TWidth : struct, IWidth where TRight : struct, IOperand
    {
        byte* at = Far.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Write);
        if (at == null) return TMode.Missed(cpu, op);
        ulong right = TWidth.Load(TRight.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Read));
        ulong left, result;
        do
        {
            left = TWidth.Load(at);
            result = TOperation.Compute(left, right, cpu->Flags);
        }
        while (Atomic.CompareExchange<TWidth>(at, result, left) != left);
        cpu->Flags.Result = TWidth.Extend(result);
        cpu->Flags.Aux = TWidth.Aux(TOperation.Carries(left, right, result));
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Unary<TOperation, TWidth>(Cpu* cpu, Op* op) where TOperation : struct, IUnary where TWidth : struct, IWidth
    {
        byte* at = Far.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Write);
        if (at == null) return TMode.Missed(cpu, op);
        ulong value, result;
        do
        {
            value = TWidth.Load(at);
            result = TOperation.Compute(value);
        }
        while (Atomic.CompareExchange<TWidth>(at, result, value) != value);
        if (TOperation.WritesFlags)
        {
            uint aux = TWidth.Aux(TOperation.Carries(value, result));
            cpu->Flags.Result = TWidth.Extend(result);
            cpu->Flags.Aux = TOperation.KeepsCarry ? LazyFlags.WithCarry(aux, cpu->Flags.Aux) : aux;
        }
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>lock bts, btr, btc; the bit may lie outside the operand if its number is in a register.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Bit<TChange, TWidth>(Cpu* cpu, Op* op) where TChange : struct, IBitChange where TWidth : struct, IWidth
    {
        long number = op->Extra != 0 ? TWidth.Extend(TWidth.Load((byte*)cpu + op->Source)) : (long)op->Immediate & (TWidth.Bits - 1);
        ulong address = Far.Address(cpu, op) + (ulong)((number >> System.Numerics.BitOperations.Log2((uint)TWidth.Bits)) * TWidth.Size);
        byte* at = TMode.Translate(cpu, op, address, TWidth.Size, PageAccess.Write);
        if (at == null) return TMode.Missed(cpu, op);
        ulong bit = 1UL << ((int)number & (TWidth.Bits - 1));
        ulong value;
        do value = TWidth.Load(at);
        while (Atomic.CompareExchange<TWidth>(at, TChange.Compute(value, bit), value) != value);
        cpu->Flags.SetCarry((value & bit) != 0);
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>xchg with memory is atomic, prefix or not.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Exchange<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        byte* at = RegisterOrMemory.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Write);
        if (at == null) return TMode.Missed(cpu, op);
        byte* register = (byte*)cpu + op->Source;
        ulong value = TWidth.Load(register), old;
        if (op->IsMemory)
        {
            do old = TWidth.Load(at);
            while (Atomic.CompareExchange<TWidth>(at, value, old) != old);
        }
        else
        {
            old = TWidth.Load(at);
            TWidth.StoreRegister(at, value);
        }
        TWidth.StoreRegister(register, old);
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* ExchangeAdd<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        byte* at = RegisterOrMemory.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Write);
        if (at == null) return TMode.Missed(cpu, op);
        byte* register = (byte*)cpu + op->Source;
        ulong right = TWidth.Load(register), left = TWidth.Load(at);
        if (op->IsMemory)
        {
            while (Atomic.CompareExchange<TWidth>(at, left + right, left) is var seen && seen != left) left = seen;
            TWidth.StoreRegister(register, left);
        }
        else
        {
            // With both operands the same register the sum is what stays.
            TWidth.StoreRegister(register, left);
            TWidth.StoreRegister(at, left + right);
        }
        ulong sum = left + right;
        cpu->Flags.Result = TWidth.Extend(sum);
        cpu->Flags.Aux = TWidth.Aux(Carry.OfSum(left, right, sum));
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>The memory operand needs write access even if the comparison fails.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* CompareExchange<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        byte* at = RegisterOrMemory.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Write);
        if (at == null) return TMode.Missed(cpu, op);
        ulong value = TWidth.Load((byte*)cpu + op->Source), expected = TWidth.Load((byte*)&cpu->Rax), old;
        if (op->IsMemory) old = Atomic.CompareExchange<TWidth>(at, value, expected);
        else
        {
            old = TWidth.Load(at);
            if (old == expected) TWidth.StoreRegister(at, value);
        }
        if (old != expected) TWidth.StoreRegister((byte*)&cpu->Rax, old);
        ulong difference = expected - old;
        cpu->Flags.Result = TWidth.Extend(difference);
        cpu->Flags.Aux = TWidth.Aux(Carry.OfDifference(expected, old, difference));
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* CompareExchange8Bytes(Cpu* cpu, Op* op)
    {
        byte* at = Far.Locate<TMode>(cpu, op, 8, PageAccess.Write);
        if (at == null) return TMode.Missed(cpu, op);
        ulong expected = cpu->Rdx << 32 | (uint)cpu->Rax, value = cpu->Rcx << 32 | (uint)cpu->Rbx;
        ulong old = Atomic.CompareExchange<W64>(at, value, expected);
        if (old != expected) (cpu->Rax, cpu->Rdx) = ((uint)old, old >> 32);
        cpu->Flags.SetZero(old == expected);
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* CompareExchange16Bytes(Cpu* cpu, Op* op)
    {
        byte* at = Far.Locate<TMode>(cpu, op, 16, PageAccess.Write);
        if (at == null) return TMode.Missed(cpu, op);
        if (((nuint)at & 15) != 0) return Stop.Fault(cpu, op, ulong.MaxValue, PageAccess.None);
        cpu->Flags.SetZero(Atomic.CompareExchange16(at, cpu->Rbx, cpu->Rcx, ref cpu->Rax, ref cpu->Rdx));
        return TMode.Next(cpu, op + 1);
    }

    public static bool TryEmit(Chain chain, in Instruction instruction)
    {
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Xchg:
                return EmitSized(chain, instruction, &Exchange<W8>, &Exchange<W16>, &Exchange<W32>, &Exchange<W64>);
            case Mnemonic.Xadd:
                return EmitSized(chain, instruction, &ExchangeAdd<W8>, &ExchangeAdd<W16>, &ExchangeAdd<W32>, &ExchangeAdd<W64>);
            case Mnemonic.Cmpxchg:
                return EmitSized(chain, instruction, &CompareExchange<W8>, &CompareExchange<W16>,
                    &CompareExchange<W32>, &CompareExchange<W64>);
            case Mnemonic.Cmpxchg8b:
                chain.AddWithMemory<TMode>(instruction).Handler = &CompareExchange8Bytes;
                return true;
            case Mnemonic.Cmpxchg16b:
                chain.AddWithMemory<TMode>(instruction).Handler = &CompareExchange16Bytes;
                return true;
            default: return instruction.HasLockPrefix && TryEmitLocked(chain, instruction);
        }
    }

    static bool TryEmitLocked(Chain chain, in Instruction instruction) => instruction.Mnemonic switch
    {
        Mnemonic.Add => EmitBinary<Add>(chain, instruction),
        Mnemonic.Or => EmitBinary<Or>(chain, instruction),
        Mnemonic.Adc => EmitBinary<Adc>(chain, instruction),
        Mnemonic.Sbb => EmitBinary<Sbb>(chain, instruction),
        Mnemonic.And => EmitBinary<And>(chain, instruction),
        Mnemonic.Sub => EmitBinary<Sub>(chain, instruction),
        Mnemonic.Xor => EmitBinary<Xor>(chain, instruction),
        Mnemonic.Inc => EmitUnary<Inc>(chain, instruction),
        Mnemonic.Dec => EmitUnary<Dec>(chain, instruction),
        Mnemonic.Neg => EmitUnary<Neg>(chain, instruction),
        Mnemonic.Not => EmitUnary<Complement>(chain, instruction),
        Mnemonic.Bts => EmitBit<BitSet>(chain, instruction),
        Mnemonic.Btr => EmitBit<BitReset>(chain, instruction),
        Mnemonic.Btc => EmitBit<BitComplement>(chain, instruction),
        _ => false,
    };

    static bool EmitSized(Chain chain, in Instruction instruction, Handler w8, Handler w16, Handler w32, Handler w64)
    {
        ref Op op = ref chain.AddWithRegisterOrMemory<TMode>(instruction, 0);
        op.Handler = OperandEncoding.SizeOf(instruction, 0) switch { 1 => w8, 2 => w16, 4 => w32, _ => w64 };
        return true;
    }

    static bool EmitBinary<TOperation>(Chain chain, in Instruction instruction) where TOperation : struct, IBinary
    {
        ref Op op = ref chain.AddWithOperands<TMode>(instruction);
        bool constant = instruction.Op1Kind != OpKind.Register;
        op.Handler = OperandEncoding.SizeOf(instruction, 0) switch
        {
            1 => constant ? &Binary<TOperation, W8, Constant> : &Binary<TOperation, W8, Second>,
            2 => constant ? &Binary<TOperation, W16, Constant> : &Binary<TOperation, W16, Second>,
            4 => constant ? &Binary<TOperation, W32, Constant> : &Binary<TOperation, W32, Second>,
            _ => constant ? &Binary<TOperation, W64, Constant> : &Binary<TOperation, W64, Second>,
        };
        return true;
    }

    static bool EmitUnary<TOperation>(Chain chain, in Instruction instruction) where TOperation : struct, IUnary =>
        EmitSized(chain, instruction, &Unary<TOperation, W8>, &Unary<TOperation, W16>, &Unary<TOperation, W32>, &Unary<TOperation, W64>);

    static bool EmitBit<TChange>(Chain chain, in Instruction instruction) where TChange : struct, IBitChange
    {
        ref Op op = ref chain.AddWithOperands<TMode>(instruction);
        op.Extra = instruction.Op1Kind == OpKind.Register ? (byte)1 : (byte)0;
        op.Handler = OperandEncoding.SizeOf(instruction, 0) switch
        {
            2 => &Bit<TChange, W16>,
            4 => &Bit<TChange, W32>,
            _ => &Bit<TChange, W64>,
        };
        return true;
    }
}
