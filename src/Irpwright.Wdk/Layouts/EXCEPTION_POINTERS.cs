using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>What an exception filter is given: GetExceptionInformation.</summary>
/// <seealso href="https://learn.microsoft.com/windows/win32/api/winnt/ns-winnt-exception_pointers"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct EXCEPTION_POINTERS
{
    public const int SizeOf = 0x10;

    [FieldOffset(0x00)] public PEXCEPTION_RECORD ExceptionRecord;
    [FieldOffset(0x08)] public PCONTEXT ContextRecord;
}
