using System.Runtime.CompilerServices;
using Iced.Intel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Processor;

/// <summary>mul imul div idiv, and the sign extensions that go with them: cbw cwde cdqe cwd cdq cqo.</summary>
static unsafe class Multiply<TMode> where TMode : struct, IMode
{
    /// <summary>imul with a destination register; the other factor is the destination or a constant.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Truncated<TWidth, TFactor, TFlags>(Cpu* cpu, Op* op)
        where TWidth : struct, IWidth where TFactor : struct, IOperand where TFlags : struct, IFlagUse
    {
        byte* at = RegisterOrMemory.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Read);
        if (at == null) return TMode.Missed(cpu, op);
        long left = TWidth.Extend(TWidth.Load(at));
        long right = TWidth.Extend(TWidth.Load(TFactor.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Read)));
        long product = left * right;
        TWidth.StoreRegister((byte*)cpu + op->Destination, (ulong)product);
        if (TFlags.Live)
        {
            bool overflow = TWidth.Bits == 64
                ? WideMath.Overflows(left, right)
                : TWidth.Extend((ulong)product) != product;
            cpu->Flags.SetResult(TWidth.Extend((ulong)product), overflow, overflow);
        }
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Unsigned<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        byte* at = RegisterOrMemory.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Read);
        if (at == null) return TMode.Missed(cpu, op);
        WideMath.Multiply<TWidth>(cpu, TWidth.Load(at));
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Signed<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        byte* at = RegisterOrMemory.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Read);
        if (at == null) return TMode.Missed(cpu, op);
        WideMath.MultiplySigned<TWidth>(cpu, TWidth.Extend(TWidth.Load(at)));
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* UnsignedDivide<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        byte* at = RegisterOrMemory.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Read);
        if (at == null) return TMode.Missed(cpu, op);
        if (!WideMath.TryDivide<TWidth>(cpu, TWidth.Load(at))) return Stop.Because(cpu, op, StopReason.DivideError);
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* SignedDivide<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        byte* at = RegisterOrMemory.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Read);
        if (at == null) return TMode.Missed(cpu, op);
        if (!WideMath.TryDivideSigned<TWidth>(cpu, TWidth.Extend(TWidth.Load(at)))) return Stop.Because(cpu, op, StopReason.DivideError);
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>cbw cwde cdqe: al to ax, ax to eax, eax to rax.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Widen<TNarrow, TWidth>(Cpu* cpu, Op* op) where TNarrow : struct, IWidth where TWidth : struct, IWidth
    {
        TWidth.StoreRegister((byte*)&cpu->Rax, (ulong)TNarrow.Extend(cpu->Rax));
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>cwd cdq cqo: the sign of rax fills rdx.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* SpreadSign<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        TWidth.StoreRegister((byte*)&cpu->Rdx, (ulong)(TWidth.Extend(cpu->Rax) >> 63));
        return TMode.Next(cpu, op + 1);
    }

    public static bool TryEmit(Chain chain, in Instruction instruction, bool keepFlags)
    {
        if (instruction.Mnemonic == Mnemonic.Imul && instruction.OpCount > 1) return EmitTruncated(chain, instruction, keepFlags);
        Handler handler = Select(instruction);
        if (handler == null) return false;
        if (instruction.OpCount == 0) chain.Add(instruction).Handler = handler;
        else chain.AddWithRegisterOrMemory<TMode>(instruction, 0).Handler = handler;
        return true;
    }

    static Handler Select(in Instruction instruction)
    {
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Cbw: return &Widen<W8, W16>;
            case Mnemonic.Cwde: return &Widen<W16, W32>;
            case Mnemonic.Cdqe: return &Widen<W32, W64>;
            case Mnemonic.Cwd: return &SpreadSign<W16>;
            case Mnemonic.Cdq: return &SpreadSign<W32>;
            case Mnemonic.Cqo: return &SpreadSign<W64>;
            case Mnemonic.Mul or Mnemonic.Imul or Mnemonic.Div or Mnemonic.Idiv:
                return OperandEncoding.SizeOf(instruction, 0) switch
                {
                    1 => Select<W8>(instruction.Mnemonic),
                    2 => Select<W16>(instruction.Mnemonic),
                    4 => Select<W32>(instruction.Mnemonic),
                    _ => Select<W64>(instruction.Mnemonic),
                };
            default: return null;
        }
    }

    static Handler Select<TWidth>(Mnemonic mnemonic) where TWidth : struct, IWidth => mnemonic switch
    {
        Mnemonic.Mul => &Unsigned<TWidth>,
        Mnemonic.Imul => &Signed<TWidth>,
        Mnemonic.Div => &UnsignedDivide<TWidth>,
        _ => &SignedDivide<TWidth>,
    };

    static bool EmitTruncated(Chain chain, in Instruction instruction, bool keepFlags)
    {
        ref Op op = ref chain.AddWithRegisterOrMemory<TMode>(instruction, 1);
        bool constant = instruction.OpCount == 3;
        op.Handler = (instruction.Op0Register.GetSize(), keepFlags) switch
        {
            (2, _) => constant ? &Truncated<W16, Constant, FlagsLive> : &Truncated<W16, First, FlagsLive>,
            (4, true) => constant ? &Truncated<W32, Constant, FlagsLive> : &Truncated<W32, First, FlagsLive>,
            (4, false) => constant ? &Truncated<W32, Constant, FlagsDead> : &Truncated<W32, First, FlagsDead>,
            (_, true) => constant ? &Truncated<W64, Constant, FlagsLive> : &Truncated<W64, First, FlagsLive>,
            _ => constant ? &Truncated<W64, Constant, FlagsDead> : &Truncated<W64, First, FlagsDead>,
        };
        return true;
    }
}

/// <summary>Arithmetic on the double-width accumulator: rdx:rax, or ax for bytes.</summary>
static unsafe class WideMath
{
    // A handler that called Math.BigMul itself would need stack for the lower half, and could not end in a jump.
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static UInt128 Product(ulong left, ulong right) => Math.BigMul(left, right);

    /// <summary>Whether a product needs more than 64 bits. A call of its own: a handler with an out argument would not end in a jump.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static bool Overflows(long left, long right) => Math.BigMul(left, right, out long low) != low >> 63;

    public static void Multiply<TWidth>(Cpu* cpu, ulong factor) where TWidth : struct, IWidth
    {
        ulong high = Math.BigMul(TWidth.Load((byte*)&cpu->Rax), factor, out ulong low);
        if (TWidth.Bits < 64) high = low >> (TWidth.Bits & 63);
        StorePair<TWidth>(cpu, low, high);
        bool overflow = TWidth.Extend(high) != 0;
        cpu->Flags.SetResult(TWidth.Extend(low), overflow, overflow);
    }

    public static void MultiplySigned<TWidth>(Cpu* cpu, long factor) where TWidth : struct, IWidth
    {
        long high = Math.BigMul(TWidth.Extend(TWidth.Load((byte*)&cpu->Rax)), factor, out long low);
        if (TWidth.Bits < 64) high = low >> (TWidth.Bits & 63);
        StorePair<TWidth>(cpu, (ulong)low, (ulong)high);
        bool overflow = TWidth.Extend((ulong)high) != TWidth.Extend((ulong)low) >> 63;
        cpu->Flags.SetResult(TWidth.Extend((ulong)low), overflow, overflow);
    }

    /// <summary>False for a zero divisor or a quotient that is too wide; nothing is changed then.</summary>
    public static bool TryDivide<TWidth>(Cpu* cpu, ulong divisor) where TWidth : struct, IWidth
    {
        (ulong low, ulong high) = LoadPair<TWidth>(cpu);
        if (high >= divisor) return false;
        if (TWidth.Bits < 64 || high == 0)
        {
            ulong dividend = TWidth.Bits < 64 ? high << (TWidth.Bits & 63) | low : low;
            StorePair<TWidth>(cpu, dividend / divisor, dividend % divisor);
        }
        else
        {
            (UInt128 quotient, UInt128 remainder) = UInt128.DivRem(new UInt128(high, low), divisor);
            StorePair<TWidth>(cpu, (ulong)quotient, (ulong)remainder);
        }
        return true;
    }

    /// <inheritdoc cref="TryDivide{TWidth}"/>
    public static bool TryDivideSigned<TWidth>(Cpu* cpu, long divisor) where TWidth : struct, IWidth
    {
        (ulong low, ulong high) = LoadPair<TWidth>(cpu);
        if (divisor == 0) return false;
        Int128 dividend = TWidth.Bits == 64 ? new Int128(high, low) : (TWidth.Extend(high) << (TWidth.Bits & 63)) | (long)low;
        if (divisor == -1 && dividend == Int128.MinValue) return false;
        (Int128 quotient, Int128 remainder) = Int128.DivRem(dividend, divisor);
        if (quotient != TWidth.Extend((ulong)quotient)) return false;
        StorePair<TWidth>(cpu, (ulong)quotient, (ulong)remainder);
        return true;
    }

    static (ulong Low, ulong High) LoadPair<TWidth>(Cpu* cpu) where TWidth : struct, IWidth =>
        TWidth.Bits == 8 ? ((byte)cpu->Rax, (byte)(cpu->Rax >> 8)) : (TWidth.Load((byte*)&cpu->Rax), TWidth.Load((byte*)&cpu->Rdx));

    static void StorePair<TWidth>(Cpu* cpu, ulong low, ulong high) where TWidth : struct, IWidth
    {
        if (TWidth.Bits == 8)
        {
            *(ushort*)&cpu->Rax = (ushort)((byte)low | high << 8);
            return;
        }
        TWidth.StoreRegister((byte*)&cpu->Rax, low);
        TWidth.StoreRegister((byte*)&cpu->Rdx, high);
    }
}
