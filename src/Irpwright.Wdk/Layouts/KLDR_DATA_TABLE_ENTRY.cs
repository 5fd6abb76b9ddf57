using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>
/// An image in memory, as the list behind PsLoadedModuleList and DRIVER_OBJECT.DriverSection show it. In no header; drivers declare
/// it themselves.
/// </summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct KLDR_DATA_TABLE_ENTRY
{
    public const int SizeOf = 0xA0;

    [FieldOffset(0x00)] public LIST_ENTRY InLoadOrderLinks;
    [FieldOffset(0x30)] public PVOID DllBase;
    [FieldOffset(0x38)] public PVOID EntryPoint;
    [FieldOffset(0x40)] public uint SizeOfImage;
    [FieldOffset(0x48)] public UNICODE_STRING FullDllName;
    [FieldOffset(0x58)] public UNICODE_STRING BaseDllName;
    [FieldOffset(0x68)] public uint Flags;
    [FieldOffset(0x6C)] public ushort LoadCount;
    [FieldOffset(0x78)] public uint CheckSum;
}
