using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Processor control region, what gs points to in kernel mode: the part that drivers read.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct KPCR
{
    public const int SizeOf = 0x1B0;

    [FieldOffset(0x000)] public PVOID GdtBase;
    [FieldOffset(0x008)] public PVOID TssBase;
    [FieldOffset(0x010)] public ulong UserRsp;
    [FieldOffset(0x018)] public PKPCR Self;
    [FieldOffset(0x020)] public PKPRCB CurrentPrcb;
    [FieldOffset(0x028)] public PVOID LockArray;
    [FieldOffset(0x030)] public PVOID Used_Self; // TEB of the current user thread
    [FieldOffset(0x038)] public PVOID IdtBase;
    [FieldOffset(0x050)] public byte Irql; // CR8 is the register; this is a copy
    [FieldOffset(0x051)] public byte SecondLevelCacheAssociativity;
    [FieldOffset(0x052)] public byte ObsoleteNumber;
    [FieldOffset(0x060)] public ushort MajorVersion;
    [FieldOffset(0x062)] public ushort MinorVersion;
    [FieldOffset(0x064)] public uint StallScaleFactor;
    [FieldOffset(0x180)] public KPRCB Prcb;
}
