using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>What was raised, and where.</summary>
/// <seealso href="https://learn.microsoft.com/windows/win32/api/winnt/ns-winnt-exception_record"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct EXCEPTION_RECORD
{
    public const int SizeOf = 0x98;

    [FieldOffset(0x00)] public NTSTATUS ExceptionCode;
    [FieldOffset(0x04)] public EXCEPTION_FLAGS ExceptionFlags;
    [FieldOffset(0x08)] public PEXCEPTION_RECORD ExceptionRecord; // the exception that was being handled when this one was raised
    [FieldOffset(0x10)] public PVOID ExceptionAddress;
    [FieldOffset(0x18)] public uint NumberParameters;
    [FieldOffset(0x20)] public ExceptionInformationArray ExceptionInformation;

    [InlineArray(15)]
    public struct ExceptionInformationArray
    {
        ulong element;
    }
}
