using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Registers of an x64 processor, as exception handlers see and change them. Aligned to 16 bytes.</summary>
/// <seealso href="https://learn.microsoft.com/windows/win32/api/winnt/ns-winnt-context"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct CONTEXT
{
    public const int SizeOf = 0x4D0;

    [FieldOffset(0x000)] public ulong P1Home;
    [FieldOffset(0x008)] public ulong P2Home;
    [FieldOffset(0x010)] public ulong P3Home;
    [FieldOffset(0x018)] public ulong P4Home;
    [FieldOffset(0x020)] public ulong P5Home;
    [FieldOffset(0x028)] public ulong P6Home;
    [FieldOffset(0x030)] public uint ContextFlags; // CONTEXT_CONTROL and its neighbours
    [FieldOffset(0x034)] public uint MxCsr;
    [FieldOffset(0x038)] public ushort SegCs;
    [FieldOffset(0x03A)] public ushort SegDs;
    [FieldOffset(0x03C)] public ushort SegEs;
    [FieldOffset(0x03E)] public ushort SegFs;
    [FieldOffset(0x040)] public ushort SegGs;
    [FieldOffset(0x042)] public ushort SegSs;
    [FieldOffset(0x044)] public uint EFlags;
    [FieldOffset(0x048)] public ulong Dr0;
    [FieldOffset(0x050)] public ulong Dr1;
    [FieldOffset(0x058)] public ulong Dr2;
    [FieldOffset(0x060)] public ulong Dr3;
    [FieldOffset(0x068)] public ulong Dr6;
    [FieldOffset(0x070)] public ulong Dr7;
    [FieldOffset(0x078)] public ulong Rax; // the sixteen in the order of x64 encodings
    [FieldOffset(0x080)] public ulong Rcx;
    [FieldOffset(0x088)] public ulong Rdx;
    [FieldOffset(0x090)] public ulong Rbx;
    [FieldOffset(0x098)] public ulong Rsp;
    [FieldOffset(0x0A0)] public ulong Rbp;
    [FieldOffset(0x0A8)] public ulong Rsi;
    [FieldOffset(0x0B0)] public ulong Rdi;
    [FieldOffset(0x0B8)] public ulong R8;
    [FieldOffset(0x0C0)] public ulong R9;
    [FieldOffset(0x0C8)] public ulong R10;
    [FieldOffset(0x0D0)] public ulong R11;
    [FieldOffset(0x0D8)] public ulong R12;
    [FieldOffset(0x0E0)] public ulong R13;
    [FieldOffset(0x0E8)] public ulong R14;
    [FieldOffset(0x0F0)] public ulong R15;
    [FieldOffset(0x0F8)] public ulong Rip;
    [FieldOffset(0x100)] public XSAVE_FORMAT FltSave;
    [FieldOffset(0x1A0)] public M128A Xmm0; // these sixteen overlap FltSave.XmmRegisters
    [FieldOffset(0x1B0)] public M128A Xmm1;
    [FieldOffset(0x1C0)] public M128A Xmm2;
    [FieldOffset(0x1D0)] public M128A Xmm3;
    [FieldOffset(0x1E0)] public M128A Xmm4;
    [FieldOffset(0x1F0)] public M128A Xmm5;
    [FieldOffset(0x200)] public M128A Xmm6;
    [FieldOffset(0x210)] public M128A Xmm7;
    [FieldOffset(0x220)] public M128A Xmm8;
    [FieldOffset(0x230)] public M128A Xmm9;
    [FieldOffset(0x240)] public M128A Xmm10;
    [FieldOffset(0x250)] public M128A Xmm11;
    [FieldOffset(0x260)] public M128A Xmm12;
    [FieldOffset(0x270)] public M128A Xmm13;
    [FieldOffset(0x280)] public M128A Xmm14;
    [FieldOffset(0x290)] public M128A Xmm15;
    [FieldOffset(0x300)] public VectorRegisterArray VectorRegister;
    [FieldOffset(0x4A0)] public ulong VectorControl;
    [FieldOffset(0x4A8)] public ulong DebugControl;
    [FieldOffset(0x4B0)] public ulong LastBranchToRip;
    [FieldOffset(0x4B8)] public ulong LastBranchFromRip;
    [FieldOffset(0x4C0)] public ulong LastExceptionToRip;
    [FieldOffset(0x4C8)] public ulong LastExceptionFromRip;

    [InlineArray(26)]
    public struct VectorRegisterArray
    {
        M128A element;
    }
}
