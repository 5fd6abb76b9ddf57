global using unsafe Handler = delegate*<Irpwright.Guest.Processor.Cpu*, Irpwright.Guest.Processor.Op*, Irpwright.Guest.Processor.Op*>;

using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Irpwright.Wdk;

namespace Irpwright.Guest.Processor;

/// <summary>
/// One virtual x64 processor: registers, lazy flags, and what a handler must reach without leaving unmanaged memory.
/// </summary>
/// <remarks>
/// Allocated by <see cref="Interpreter.CreateCpu"/>. At every instruction that can fault, trap or call out, all registers and
/// <see cref="Rip"/> are exact. Arithmetic flags which nothing reads may be stale; <c>pushfq</c>, <c>lahf</c> and conditions always see
/// them right.
/// </remarks>
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public unsafe partial struct Cpu
{
    public const int SizeOf = 0x380;

    /// <summary>What an interrupt saves and restores comes first; behind it is what belongs to the processor, not to what runs on it.</summary>
    internal const int ThreadSize = 0x290;

    // Registers that instructions cannot name but operands can: address forms need a zero, the gs base, and one temporary.
    internal const int ZeroOffset = 0x80, GsBaseOffset = 0x88, FsBaseOffset = 0x90, TemporaryOffset = 0x98, XmmOffset = 0x100;

    /// <summary>rax rcx rdx rbx rsp rbp rsi rdi r8 ... r15: the order of x64 encodings.</summary>
    [FieldOffset(0x00)] public fixed ulong Gpr[16];
    [FieldOffset(0x00)] public ulong Rax;
    [FieldOffset(0x08)] public ulong Rcx;
    [FieldOffset(0x10)] public ulong Rdx;
    [FieldOffset(0x18)] public ulong Rbx;
    [FieldOffset(0x20)] public ulong Rsp;
    [FieldOffset(0x28)] public ulong Rbp;
    [FieldOffset(0x30)] public ulong Rsi;
    [FieldOffset(0x38)] public ulong Rdi;
    [FieldOffset(ZeroOffset)] internal ulong Zero;

    /// <summary>Address of this processor's KPCR.</summary>
    [FieldOffset(GsBaseOffset)] public ulong GsBase;
    [FieldOffset(FsBaseOffset)] public ulong FsBase;
    [FieldOffset(TemporaryOffset)] internal ulong Temporary;

    [FieldOffset(0xA0)] internal LazyFlags Flags;

    /// <summary>The flags that no arithmetic touches: DF, IF and their neighbours, at their places in rflags.</summary>
    [FieldOffset(0xB0)] internal uint SystemFlags;

    /// <summary>
    /// Control of SSE. Conversions round as it says; other arithmetic stops when it asks for another rounding than to nearest, for traps,
    /// or for subnormal numbers as zero. The sticky exception flags are what was written, arithmetic does not set them.
    /// </summary>
    [FieldOffset(0xB4)] public uint Mxcsr;

    /// <summary>The instruction that stopped, or is calling out.</summary>
    [FieldOffset(0xB8)] public ulong Rip;

    /// <summary>Taken branches, calls, returns and string chunks left until <see cref="StopReason.BudgetSpent"/>.</summary>
    [FieldOffset(0xC0)] public long Budget;

    /// <summary>A callback sets it to end the run it was called from; <see cref="Interpreter.Run"/> returns and clears it.</summary>
    [FieldOffset(0xC8)] public StopReason Stop;

    [FieldOffset(0xCC)] public PageAccess FaultAccess;

    /// <summary>First byte that could not be accessed.</summary>
    [FieldOffset(0xD0)] public ulong FaultAddress;

    /// <summary>Lowest mapped address of the kernel stack; the page below is its guard.</summary>
    [FieldOffset(0xD8)] public ulong StackLimit;

    [FieldOffset(0xE0)] internal ulong CodeBase;
    [FieldOffset(0xE8)] internal Op*** CodePages;

    /// <summary>This processor's IRQL, which <c>cr8</c> reads.</summary>
    [FieldOffset(0xF0)] public byte* Irql;

    /// <summary>Where the page seen at <see cref="GuestAccess.SharedUserData"/> lies in the kernel window; 0 for nowhere.</summary>
    [FieldOffset(0xF8)] public ulong SharedUserData;

    [FieldOffset(XmmOffset)] internal fixed byte Xmm[16 * 16];

    /// <summary>Called for an address in the trap range; afterwards the processor performs the guest's <c>ret</c>.</summary>
    [FieldOffset(0x200)] public delegate*<Cpu*, ulong, void> OnTrap;

    /// <summary>
    /// As <see cref="OnTrap"/>, for an address that <see cref="Processor.Interpreter.ThunkAt"/> knows; gets what that returned.
    /// </summary>
    [FieldOffset(0x320)] public delegate*<Cpu*, nint, void> OnThunk;

    /// <summary><c>mov cr8</c>: the new IRQL. Null: only <see cref="Irql"/> is written.</summary>
    [FieldOffset(0x208)] public delegate*<Cpu*, byte, void> OnIrqlWrite;

    /// <summary><c>pause</c>: the guest spins. Null: nothing happens.</summary>
    [FieldOffset(0x210)] public delegate*<Cpu*, void> OnPause;

    /// <summary>An interlocked instruction is about to change memory; see <see cref="Processor.Interpreter.StopsAtInterlocked"/>.</summary>
    [FieldOffset(0x348)] public delegate*<Cpu*, void> OnInterlocked;

    /// <summary><c>rdtsc</c>. Null: the budget counted down, which only ever rises.</summary>
    [FieldOffset(0x218)] public delegate*<Cpu*, ulong> OnTimestamp;

    // An access that missed the fast path, and what the slow path found for it; see GuestAccess.
    [FieldOffset(0x230)] internal ulong MissedAddress;
    [FieldOffset(0x238)] internal int MissedSize;
    [FieldOffset(0x23C)] internal PageAccess MissedAccess;
    [FieldOffset(0x240)] internal Found FoundForRead;
    [FieldOffset(0x250)] internal Found FoundForWrite;

    // What was read from a device, and what is on its way to one; see DeviceAccess.
    [FieldOffset(0x260)] internal ulong PendingAddress;
    [FieldOffset(0x268)] internal int PendingSize;
    [FieldOffset(0x270)] internal fixed byte FromDevice[16];
    [FieldOffset(0x280)] internal fixed byte ToDevice[16];

    // Registers of the system; see SystemRegisters.
    [FieldOffset(0x290)] internal ulong Cr0;
    [FieldOffset(0x298)] internal ulong Cr2;
    [FieldOffset(0x2A0)] internal ulong Cr4;
    [FieldOffset(0x2A8)] internal ulong UserGsBase;
    [FieldOffset(0x2B0)] internal fixed ulong Debug[8];

    /// <summary><c>cli</c>, <c>sti</c> and <c>popfq</c>: interrupts are enabled or disabled from now on. Null: nothing happens.</summary>
    [FieldOffset(0x2F0)] public delegate*<Cpu*, bool, void> OnInterruptFlag;

    /// <summary>Reads a register of a device at a guest address, 1, 2, 4 or 8 bytes; false if there is none. Null: there are no devices.</summary>
    [FieldOffset(0x300)] public delegate*<Cpu*, ulong, int, ulong*, bool> OnDeviceRead;

    /// <summary>Writes one.</summary>
    [FieldOffset(0x308)] public delegate*<Cpu*, ulong, int, ulong, bool> OnDeviceWrite;

    /// <summary><c>in</c> and <c>ins</c>: port and size. Null: there are no ports.</summary>
    [FieldOffset(0x310)] public delegate*<Cpu*, ushort, int, ulong> OnPortRead;

    /// <summary><c>out</c> and <c>outs</c>.</summary>
    [FieldOffset(0x318)] public delegate*<Cpu*, ushort, int, ulong, void> OnPortWrite;

    // Ways on that a handler jumps to when it finds nothing: calling them would have it save registers first, every time.
    [FieldOffset(0x328)] internal Handler OnMiss;
    [FieldOffset(0x330)] internal delegate*<Cpu*, ulong, Op*> OnUnknown;

    /// <summary>Host address of the machine's slice.</summary>
    [FieldOffset(0x338)] internal byte* Host;

    /// <summary>Host address above which the stack is certainly deep enough for a run; below it, the runtime is asked, which takes longer.</summary>
    [FieldOffset(0x340)] public nuint AmpleStack;

    /// <summary>The processor's number, as <c>rdtscp</c> and <c>cpuid</c> tell it.</summary>
    [FieldOffset(0x2F8)] public uint Number;

    /// <summary>For the callbacks' owner: how it finds itself again.</summary>
    [FieldOffset(0x220)] public nint Owner;

    /// <summary>GCHandle of the <see cref="Processor.Interpreter"/>.</summary>
    [FieldOffset(0x228)] internal nint Interpreter;

    /// <summary>An xmm register.</summary>
    [UnscopedRef]
    public ref UInt128 XmmRegister(int number) => ref Unsafe.As<byte, UInt128>(ref Xmm[16 * number]);

    /// <summary>The whole of rflags.</summary>
    public ulong Rflags
    {
        readonly get => Flags.Materialize() | SystemFlags | Rflag.AlwaysSet;
        set
        {
            Flags.Set((uint)value);
            SystemFlags = (uint)value & Rflag.System;
        }
    }
}

/// <summary>Host memory of one access that only the slow path could translate; used once.</summary>
[StructLayout(LayoutKind.Sequential)]
unsafe struct Found
{
    public ulong Address;
    public byte* Host;
}

/// <summary>One step of translated code: a handler and its operands.</summary>
/// <remarks>48 bytes; a chain of them lies in sequence. Register operands are byte offsets into <see cref="Cpu"/>.</remarks>
[StructLayout(LayoutKind.Sequential)]
unsafe struct Op
{
    public Handler Handler;
    /// <summary>Where a taken branch goes.</summary>
    public Op* Target;
    public long Displacement;
    public ulong Immediate;
    public ushort Destination, Source, Base, Index;
    /// <summary>The instruction, relative to <see cref="Cpu.CodeBase"/>.</summary>
    public uint Offset;
    public byte Scale;
    public byte Length;
    /// <summary>For operands decided at run time: the r/m operand is memory.</summary>
    public bool IsMemory;
    public byte Extra;
}
