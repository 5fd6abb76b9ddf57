using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.CompilerServices;
using Iced.Intel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Processor;

/// <summary>What bt and its relatives make of the bit.</summary>
interface IBitChange
{
    static abstract bool Writes { get; }
    static abstract ulong Compute(ulong value, ulong bit);
}

struct BitTest : IBitChange
{
    public static bool Writes => false;
    public static ulong Compute(ulong value, ulong bit) => value;
}

struct BitSet : IBitChange
{
    public static bool Writes => true;
    public static ulong Compute(ulong value, ulong bit) => value | bit;
}

struct BitReset : IBitChange
{
    public static bool Writes => true;
    public static ulong Compute(ulong value, ulong bit) => value & ~bit;
}

struct BitComplement : IBitChange
{
    public static bool Writes => true;
    public static ulong Compute(ulong value, ulong bit) => value ^ bit;
}

/// <summary>bt bts btr btc bsf bsr tzcnt lzcnt popcnt bswap movbe crc32.</summary>
static unsafe class Bits<TMode> where TMode : struct, IMode
{
    /// <summary>The bit number is a constant or, for a register operand, taken modulo the width.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Test<TChange, TWidth, TNumber>(Cpu* cpu, Op* op)
        where TChange : struct, IBitChange where TWidth : struct, IWidth where TNumber : struct, IOperand
    {
        byte* at = RegisterOrMemory.Locate<TMode>(cpu, op, TWidth.Size, TChange.Writes ? PageAccess.Write : PageAccess.Read);
        if (at == null) return TMode.Missed(cpu, op);
        int number = *TNumber.Locate<TMode>(cpu, op, 1, PageAccess.Read) & (TWidth.Bits - 1);
        ulong value = TWidth.Load(at);
        if (TChange.Writes) RegisterOrMemory.Store<TWidth>(op, at, TChange.Compute(value, 1UL << number));
        cpu->Flags.SetCarry((value >> number & 1) != 0);
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>A register number and a memory operand: any bit of the string that begins there, in both directions.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* TestString<TChange, TWidth>(Cpu* cpu, Op* op) where TChange : struct, IBitChange where TWidth : struct, IWidth
    {
        long number = TWidth.Extend(TWidth.Load((byte*)cpu + op->Source));
        ulong address = Far.Address(cpu, op) + (ulong)((number >> BitOperations.Log2((uint)TWidth.Bits)) * TWidth.Size);
        byte* at = TMode.Translate(cpu, op, address, TWidth.Size, TChange.Writes ? PageAccess.Write : PageAccess.Read);
        if (at == null) return TMode.Missed(cpu, op);
        int bit = (int)number & (TWidth.Bits - 1);
        ulong value = TWidth.Load(at);
        if (TChange.Writes) TWidth.Store(at, TChange.Compute(value, 1UL << bit));
        cpu->Flags.SetCarry((value >> bit & 1) != 0);
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>bsf and bsr. With nothing to find the destination stays, as AMD documents and every processor does.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Scan<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        byte* from = RegisterOrMemory.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Read);
        if (from == null) return TMode.Missed(cpu, op);
        ulong value = TWidth.Load(from);
        bool reverse = op->Extra != 0;
        int found = reverse ? BitOperations.Log2(value) : BitOperations.TrailingZeroCount(value);
        if (value != 0) TWidth.StoreRegister((byte*)cpu + op->Destination, (ulong)found);
        cpu->Flags.SetResult(value == 0 ? 0 : 1, false, false);
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Count<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        byte* from = RegisterOrMemory.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Read);
        if (from == null) return TMode.Missed(cpu, op);
        ulong value = TWidth.Load(from);
        int count = op->Extra switch
        {
            0 => Math.Min(BitOperations.TrailingZeroCount(value), TWidth.Bits),
            1 => BitOperations.LeadingZeroCount(value) - (64 - TWidth.Bits),
            _ => BitOperations.PopCount(value),
        };
        TWidth.StoreRegister((byte*)cpu + op->Destination, (ulong)count);
        if (op->Extra == 2) cpu->Flags.Set(value == 0 ? Rflag.Zero : 0);
        else cpu->Flags.SetResult(count, value == 0, false);
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Swap32(Cpu* cpu, Op* op)
    {
        ulong* register = (ulong*)((byte*)cpu + op->Destination);
        *register = BinaryPrimitives.ReverseEndianness((uint)*register);
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Swap64(Cpu* cpu, Op* op)
    {
        ulong* register = (ulong*)((byte*)cpu + op->Destination);
        *register = BinaryPrimitives.ReverseEndianness(*register);
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* LoadSwapped<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        byte* from = Far.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Read);
        if (from == null) return TMode.Missed(cpu, op);
        TWidth.StoreRegister((byte*)cpu + op->Destination, BinaryPrimitives.ReverseEndianness(TWidth.Load(from)) >> (64 - TWidth.Bits));
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* StoreSwapped<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        byte* to = Far.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Write);
        if (to == null) return TMode.Missed(cpu, op);
        ulong value = TWidth.Load((byte*)cpu + op->Source);
        TWidth.Store(to, BinaryPrimitives.ReverseEndianness(value) >> (64 - TWidth.Bits));
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>Adds a value to the checksum of the polynomial 11EDC6F41h (Castagnoli).</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Checksum<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        byte* from = RegisterOrMemory.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Read);
        if (from == null) return TMode.Missed(cpu, op);
        ulong* sum = (ulong*)((byte*)cpu + op->Destination);
        *sum = TWidth.Size switch
        {
            1 => BitOperations.Crc32C((uint)*sum, *from),
            2 => BitOperations.Crc32C((uint)*sum, *(ushort*)from),
            4 => BitOperations.Crc32C((uint)*sum, *(uint*)from),
            _ => BitOperations.Crc32C((uint)*sum, *(ulong*)from),
        };
        return TMode.Next(cpu, op + 1);
    }

    public static bool TryEmit(Chain chain, in Instruction instruction)
    {
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Bt: return EmitTest<BitTest>(chain, instruction);
            case Mnemonic.Bts: return EmitTest<BitSet>(chain, instruction);
            case Mnemonic.Btr: return EmitTest<BitReset>(chain, instruction);
            case Mnemonic.Btc: return EmitTest<BitComplement>(chain, instruction);
            case Mnemonic.Bsf: return EmitCount(chain, instruction, 0, &Scan<W16>, &Scan<W32>, &Scan<W64>);
            case Mnemonic.Bsr: return EmitCount(chain, instruction, 1, &Scan<W16>, &Scan<W32>, &Scan<W64>);
            case Mnemonic.Tzcnt: return EmitCount(chain, instruction, 0, &Count<W16>, &Count<W32>, &Count<W64>);
            case Mnemonic.Lzcnt: return EmitCount(chain, instruction, 1, &Count<W16>, &Count<W32>, &Count<W64>);
            case Mnemonic.Popcnt: return EmitCount(chain, instruction, 2, &Count<W16>, &Count<W32>, &Count<W64>);
            case Mnemonic.Movbe:
                ref Op swap = ref chain.AddWithOperands<TMode>(instruction);
                bool loads = instruction.Op1Kind == OpKind.Memory;
                swap.Handler = OperandEncoding.SizeOf(instruction, 0) switch
                {
                    2 => loads ? &LoadSwapped<W16> : &StoreSwapped<W16>,
                    4 => loads ? &LoadSwapped<W32> : &StoreSwapped<W32>,
                    _ => loads ? &LoadSwapped<W64> : &StoreSwapped<W64>,
                };
                return true;
            case Mnemonic.Crc32:
                ref Op checksum = ref chain.AddWithRegisterOrMemory<TMode>(instruction, 1);
                checksum.Handler = OperandEncoding.SizeOf(instruction, 1) switch
                {
                    1 => &Checksum<W8>,
                    2 => &Checksum<W16>,
                    4 => &Checksum<W32>,
                    _ => &Checksum<W64>,
                };
                return true;
            case Mnemonic.Bswap when instruction.Op0Register.GetSize() != 2:
                chain.AddWithOperands<TMode>(instruction).Handler = instruction.Op0Register.GetSize() == 4 ? &Swap32 : &Swap64;
                return true;
            default: return false;
        }
    }

    static bool EmitTest<TChange>(Chain chain, in Instruction instruction) where TChange : struct, IBitChange
    {
        ref Op op = ref chain.AddWithRegisterOrMemory<TMode>(instruction, 0);
        bool constant = instruction.Op1Kind != OpKind.Register;
        op.Handler = OperandEncoding.SizeOf(instruction, 0) switch
        {
            2 => SelectTest<TChange, W16>(constant, op.IsMemory),
            4 => SelectTest<TChange, W32>(constant, op.IsMemory),
            _ => SelectTest<TChange, W64>(constant, op.IsMemory),
        };
        return true;
    }

    static Handler SelectTest<TChange, TWidth>(bool constant, bool memory)
        where TChange : struct, IBitChange where TWidth : struct, IWidth =>
        constant ? &Test<TChange, TWidth, Constant> : memory ? &TestString<TChange, TWidth> : &Test<TChange, TWidth, Second>;

    static bool EmitCount(Chain chain, in Instruction instruction, byte kind, Handler w16, Handler w32, Handler w64)
    {
        ref Op op = ref chain.AddWithRegisterOrMemory<TMode>(instruction, 1);
        op.Extra = kind;
        op.Handler = instruction.Op0Register.GetSize() switch { 2 => w16, 4 => w32, _ => w64 };
        return true;
    }
}
