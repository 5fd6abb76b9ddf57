using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Processor control block: the part that drivers read through gs. The rest belongs to the kernel.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct KPRCB
{
    public const int SizeOf = 0x30;

    [FieldOffset(0x00)] public uint MxCsr;
    [FieldOffset(0x04)] public byte LegacyNumber; // gs:[184h], read by older headers' KeGetCurrentProcessorNumber
    [FieldOffset(0x05)] public byte ReservedMustBeZero;
    [FieldOffset(0x06)] public byte InterruptRequest;
    [FieldOffset(0x07)] public byte IdleHalt;
    [FieldOffset(0x08)] public PKTHREAD CurrentThread; // gs:[188h], KeGetCurrentThread
    [FieldOffset(0x10)] public PKTHREAD NextThread;
    [FieldOffset(0x18)] public PKTHREAD IdleThread;
    [FieldOffset(0x20)] public byte NestingLevel;
    [FieldOffset(0x24)] public uint Number; // gs:[1A4h], KeGetCurrentProcessorNumberEx
}
