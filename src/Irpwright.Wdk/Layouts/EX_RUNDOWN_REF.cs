using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Rundown protection of an object.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/run-down-protection"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct EX_RUNDOWN_REF
{
    public const int SizeOf = 0x8;

    [FieldOffset(0x00)] public ulong Count; // bit 0: rundown has begun; above it: users
    [FieldOffset(0x00)] public PVOID Ptr;
}
