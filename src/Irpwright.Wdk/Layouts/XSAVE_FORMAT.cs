using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Floating-point and xmm registers as the instruction fxsave stores them.</summary>
/// <seealso href="https://learn.microsoft.com/windows/win32/api/winnt/ns-winnt-xsave_format"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct XSAVE_FORMAT
{
    public const int SizeOf = 0x200;

    [FieldOffset(0x000)] public ushort ControlWord;
    [FieldOffset(0x002)] public ushort StatusWord;
    [FieldOffset(0x004)] public byte TagWord;
    [FieldOffset(0x005)] public byte Reserved1;
    [FieldOffset(0x006)] public ushort ErrorOpcode;
    [FieldOffset(0x008)] public uint ErrorOffset;
    [FieldOffset(0x00C)] public ushort ErrorSelector;
    [FieldOffset(0x00E)] public ushort Reserved2;
    [FieldOffset(0x010)] public uint DataOffset;
    [FieldOffset(0x014)] public ushort DataSelector;
    [FieldOffset(0x016)] public ushort Reserved3;
    [FieldOffset(0x018)] public uint MxCsr;
    [FieldOffset(0x01C)] public uint MxCsr_Mask;
    [FieldOffset(0x020)] public FloatRegistersArray FloatRegisters;
    [FieldOffset(0x0A0)] public XmmRegistersArray XmmRegisters;
    [FieldOffset(0x1A0)] public Reserved4Array Reserved4;

    [InlineArray(8)]
    public struct FloatRegistersArray
    {
        M128A element;
    }

    [InlineArray(16)]
    public struct XmmRegistersArray
    {
        M128A element;
    }

    [InlineArray(96)]
    public struct Reserved4Array
    {
        byte element;
    }
}
