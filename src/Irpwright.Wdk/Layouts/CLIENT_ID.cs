using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A thread and its process.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct CLIENT_ID
{
    public const int SizeOf = 0x10;

    [FieldOffset(0x00)] public HANDLE UniqueProcess;
    [FieldOffset(0x08)] public HANDLE UniqueThread;
}
