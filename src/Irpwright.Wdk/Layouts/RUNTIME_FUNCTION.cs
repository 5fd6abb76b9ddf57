using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A row of an image's exception table; addresses are relative to the image.</summary>
/// <seealso href="https://learn.microsoft.com/cpp/build/exception-handling-x64"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct RUNTIME_FUNCTION
{
    public const int SizeOf = 0xC;

    [FieldOffset(0x00)] public uint BeginAddress;
    [FieldOffset(0x04)] public uint EndAddress; // of the byte behind
    [FieldOffset(0x08)] public uint UnwindData;
}
