using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>What a trap leaves on the kernel stack: the volatile registers, and where it happened.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/debuggercmds/-trap--display-trap-frame-"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct KTRAP_FRAME
{
    public const int SizeOf = 0x190;

    [FieldOffset(0x000)] public ulong P1Home;
    [FieldOffset(0x008)] public ulong P2Home;
    [FieldOffset(0x010)] public ulong P3Home;
    [FieldOffset(0x018)] public ulong P4Home;
    [FieldOffset(0x020)] public ulong P5;
    [FieldOffset(0x028)] public sbyte PreviousMode;
    [FieldOffset(0x029)] public byte PreviousIrql;
    [FieldOffset(0x02A)] public byte FaultIndicator;
    [FieldOffset(0x02B)] public byte ExceptionActive;
    [FieldOffset(0x02C)] public uint MxCsr;
    [FieldOffset(0x030)] public ulong Rax; // the volatile registers
    [FieldOffset(0x038)] public ulong Rcx;
    [FieldOffset(0x040)] public ulong Rdx;
    [FieldOffset(0x048)] public ulong R8;
    [FieldOffset(0x050)] public ulong R9;
    [FieldOffset(0x058)] public ulong R10;
    [FieldOffset(0x060)] public ulong R11;
    [FieldOffset(0x068)] public ulong GsBase;
    [FieldOffset(0x070)] public M128A Xmm0;
    [FieldOffset(0x080)] public M128A Xmm1;
    [FieldOffset(0x090)] public M128A Xmm2;
    [FieldOffset(0x0A0)] public M128A Xmm3;
    [FieldOffset(0x0B0)] public M128A Xmm4;
    [FieldOffset(0x0C0)] public M128A Xmm5;
    [FieldOffset(0x0D0)] public ulong FaultAddress; // cr2
    [FieldOffset(0x0D8)] public ulong Dr0;
    [FieldOffset(0x0E0)] public ulong Dr1;
    [FieldOffset(0x0E8)] public ulong Dr2;
    [FieldOffset(0x0F0)] public ulong Dr3;
    [FieldOffset(0x0F8)] public ulong Dr6;
    [FieldOffset(0x100)] public ulong Dr7;
    [FieldOffset(0x108)] public ulong DebugControl;
    [FieldOffset(0x110)] public ulong LastBranchToRip;
    [FieldOffset(0x118)] public ulong LastBranchFromRip;
    [FieldOffset(0x120)] public ulong LastExceptionToRip;
    [FieldOffset(0x128)] public ulong LastExceptionFromRip;
    [FieldOffset(0x130)] public ushort SegDs;
    [FieldOffset(0x132)] public ushort SegEs;
    [FieldOffset(0x134)] public ushort SegFs;
    [FieldOffset(0x136)] public ushort SegGs;
    [FieldOffset(0x138)] public ulong TrapFrame;
    [FieldOffset(0x140)] public ulong Rbx;
    [FieldOffset(0x148)] public ulong Rdi;
    [FieldOffset(0x150)] public ulong Rsi;
    [FieldOffset(0x158)] public ulong Rbp;
    [FieldOffset(0x160)] public ulong ErrorCode; // from here on as the processor pushes it
    [FieldOffset(0x168)] public ulong Rip;
    [FieldOffset(0x170)] public ushort SegCs;
    [FieldOffset(0x178)] public uint EFlags;
    [FieldOffset(0x180)] public ulong Rsp;
    [FieldOffset(0x188)] public ushort SegSs;
}
