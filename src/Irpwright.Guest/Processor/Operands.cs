using System.Runtime.CompilerServices;
using Irpwright.Wdk;

namespace Irpwright.Guest.Processor;

/// <summary>Operand width. Values travel as zero-extended 64-bit words; only these four structs know how many bits count.</summary>
unsafe interface IWidth
{
    static abstract int Size { get; }
    static abstract ulong Load(byte* from);
    static abstract void Store(byte* to, ulong value);
    /// <summary>As <see cref="Store"/>, but a 32-bit register write clears the upper half.</summary>
    static abstract void StoreRegister(byte* to, ulong value);
    static abstract long Extend(ulong value);
    /// <summary>A vector of carries out of each bit, as <see cref="LazyFlags.Aux"/> wants them.</summary>
    static abstract uint Aux(ulong carries);
    static abstract int Bits { get; }
}

unsafe struct W8 : IWidth
{
    public static int Size => 1;
    public static int Bits => 8;
    public static ulong Load(byte* from) => *from;
    public static void Store(byte* to, ulong value) => *to = (byte)value;
    public static void StoreRegister(byte* to, ulong value) => *to = (byte)value;
    public static long Extend(ulong value) => (sbyte)value;
    public static uint Aux(ulong carries) => ((uint)carries << 24 & 0xC0000000) | ((uint)carries & 8);
}

unsafe struct W16 : IWidth
{
    public static int Size => 2;
    public static int Bits => 16;
    public static ulong Load(byte* from) => *(ushort*)from;
    public static void Store(byte* to, ulong value) => *(ushort*)to = (ushort)value;
    public static void StoreRegister(byte* to, ulong value) => *(ushort*)to = (ushort)value;
    public static long Extend(ulong value) => (short)value;
    public static uint Aux(ulong carries) => ((uint)carries << 16 & 0xC0000000) | ((uint)carries & 8);
}

unsafe struct W32 : IWidth
{
    public static int Size => 4;
    public static int Bits => 32;
    public static ulong Load(byte* from) => *(uint*)from;
    public static void Store(byte* to, ulong value) => *(uint*)to = (uint)value;
    public static void StoreRegister(byte* to, ulong value) => *(ulong*)to = (uint)value;
    public static long Extend(ulong value) => (int)value;
    public static uint Aux(ulong carries) => (uint)carries & 0xC0000008;
}

unsafe struct W64 : IWidth
{
    public static int Size => 8;
    public static int Bits => 64;
    public static ulong Load(byte* from) => *(ulong*)from;
    public static void Store(byte* to, ulong value) => *(ulong*)to = value;
    public static void StoreRegister(byte* to, ulong value) => *(ulong*)to = value;
    public static long Extend(ulong value) => (long)value;
    public static uint Aux(ulong carries) => ((uint)(carries >> 32) & 0xC0000000) | ((uint)carries & 8);
}

/// <summary>Where an operand is: a host address, whether register, constant or memory. Null: a fault was recorded, end the chain.</summary>
unsafe interface IOperand
{
    static abstract bool CanFault { get; }
    static abstract byte* Locate<TMode>(Cpu* cpu, Op* op, int size, PageAccess access) where TMode : struct, IMode;
    static abstract void Store<TWidth>(Op* op, byte* to, ulong value) where TWidth : struct, IWidth;
}

/// <summary>The register <see cref="Op.Destination"/>.</summary>
unsafe struct First : IOperand
{
    public static bool CanFault => false;
    public static byte* Locate<TMode>(Cpu* cpu, Op* op, int size, PageAccess access) where TMode : struct, IMode =>
        (byte*)cpu + op->Destination;
    public static void Store<TWidth>(Op* op, byte* to, ulong value) where TWidth : struct, IWidth => TWidth.StoreRegister(to, value);
}

/// <summary>The register <see cref="Op.Source"/>.</summary>
unsafe struct Second : IOperand
{
    public static bool CanFault => false;
    public static byte* Locate<TMode>(Cpu* cpu, Op* op, int size, PageAccess access) where TMode : struct, IMode => (byte*)cpu + op->Source;
    public static void Store<TWidth>(Op* op, byte* to, ulong value) where TWidth : struct, IWidth => TWidth.StoreRegister(to, value);
}

/// <summary>The constant <see cref="Op.Immediate"/>, sign-extended.</summary>
unsafe struct Constant : IOperand
{
    public static bool CanFault => false;
    public static byte* Locate<TMode>(Cpu* cpu, Op* op, int size, PageAccess access) where TMode : struct, IMode => (byte*)&op->Immediate;
    public static void Store<TWidth>(Op* op, byte* to, ulong value) where TWidth : struct, IWidth { }
}

/// <summary>Memory at [base + displacement], the form of most accesses.</summary>
unsafe struct Near : IOperand
{
    public static bool CanFault => true;
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* Locate<TMode>(Cpu* cpu, Op* op, int size, PageAccess access) where TMode : struct, IMode =>
        TMode.Translate(cpu, op, *(ulong*)((byte*)cpu + op->Base) + (ulong)op->Displacement, size, access);
    public static void Store<TWidth>(Op* op, byte* to, ulong value) where TWidth : struct, IWidth => TWidth.Store(to, value);
}

/// <summary>Memory at [base + index * scale + displacement].</summary>
unsafe struct Far : IOperand
{
    public static bool CanFault => true;
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* Locate<TMode>(Cpu* cpu, Op* op, int size, PageAccess access) where TMode : struct, IMode =>
        TMode.Translate(cpu, op, Address(cpu, op), size, access);
    public static void Store<TWidth>(Op* op, byte* to, ulong value) where TWidth : struct, IWidth => TWidth.Store(to, value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Address(Cpu* cpu, Op* op) =>
        *(ulong*)((byte*)cpu + op->Base) + (*(ulong*)((byte*)cpu + op->Index) << op->Scale) + (ulong)op->Displacement;
}

/// <summary>
/// An r/m operand of a rarer instruction: <see cref="Op.IsMemory"/> decides at run time; <see cref="Op.Base"/> is the register.
/// </summary>
unsafe struct RegisterOrMemory : IOperand
{
    public static bool CanFault => true;
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* Locate<TMode>(Cpu* cpu, Op* op, int size, PageAccess access) where TMode : struct, IMode =>
        op->IsMemory ? TMode.Translate(cpu, op, Far.Address(cpu, op), size, access) : (byte*)cpu + op->Base;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<TWidth>(Op* op, byte* to, ulong value) where TWidth : struct, IWidth
    {
        if (op->IsMemory) TWidth.Store(to, value);
        else TWidth.StoreRegister(to, value);
    }
}
