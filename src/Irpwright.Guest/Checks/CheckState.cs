using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using Irpwright.Guest.Processor;

namespace Irpwright.Guest.Checks;

/// <summary>What checked mode knows of one processor. Lies right behind its <see cref="Cpu"/>.</summary>
/// <remarks>
/// A register is at the same offset here as in <see cref="Cpu"/>, so the operands of operations serve for both: a byte is 1 if the
/// register's byte depends on memory that nobody has written, else 0.
/// </remarks>
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
unsafe struct CheckState
{
    public const int SizeOf = 0x240;

    /// <summary>The flags as one byte; the seven behind it stay 0.</summary>
    public const ushort FlagsOffset = 0xA0;

    /// <summary>Where operations that have no result put it. Never read.</summary>
    public const ushort NowhereOffset = 0xB0;

    [FieldOffset(0)] public fixed byte Registers[0x200];

    /// <summary>State of guest memory by the low 32 bits of an address; see <see cref="Kernel.MemoryShadow.Bytes"/>.</summary>
    [FieldOffset(0x200)] public byte* Memory;

    /// <summary>Rsp before an instruction that changes it.</summary>
    [FieldOffset(0x208)] public ulong StackBefore;

    /// <summary>A return that leaves rsp above this address leaves a frame that an IRP in flight knows.</summary>
    [FieldOffset(0x210)] public ulong WatchedFrame;

    /// <summary>Where unwritten memory was last read.</summary>
    [FieldOffset(0x218)] public ulong Source;

    public static CheckState* Of(Cpu* cpu) => (CheckState*)(cpu + 1);

    /// <summary>All registers count as written: another routine begins, or none knows what happened meanwhile.</summary>
    public static void Forget(Cpu* cpu)
    {
        // Every call into compiled code comes here: in words this wide it takes half as long as a span's own method.
        var registers = (Vector512<byte>*)Of(cpu)->Registers;
        for (int i = 0; i < 0x200 / sizeof(Vector512<byte>); i++) registers[i] = default;
    }

    /// <summary>The same for those registers that a call does not preserve.</summary>
    public static void ForgetVolatile(Cpu* cpu)
    {
        byte* registers = Of(cpu)->Registers;
        ulong* gpr = (ulong*)registers;
        gpr[0] = gpr[1] = gpr[2] = gpr[8] = gpr[9] = gpr[10] = gpr[11] = 0;
        new Span<byte>(registers + Cpu.XmmOffset, 6 * 16).Clear();
        registers[FlagsOffset] = 0;
    }
}
