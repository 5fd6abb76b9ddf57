using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A type of kernel objects, what <c>*IoFileObjectType</c> points to. Opaque to drivers; only the beginning is defined here.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct OBJECT_TYPE
{
    public const int SizeOf = 0x40;

    [FieldOffset(0x00)] public LIST_ENTRY TypeList;
    [FieldOffset(0x10)] public UNICODE_STRING Name;
    [FieldOffset(0x20)] public PVOID DefaultObject;
    [FieldOffset(0x28)] public byte Index;
    [FieldOffset(0x2C)] public uint TotalNumberOfObjects;
    [FieldOffset(0x30)] public uint TotalNumberOfHandles;
    [FieldOffset(0x34)] public uint HighWaterNumberOfObjects;
    [FieldOffset(0x38)] public uint HighWaterNumberOfHandles;
}
