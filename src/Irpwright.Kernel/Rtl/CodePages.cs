using System.Runtime.InteropServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Characters of the ANSI code page to Unicode and back, without counted strings. IRQL &lt;= APC_LEVEL, the last three only at PASSIVE_LEVEL.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/nf-ntifs-rtlmultibytetounicoden"/>
public sealed class CodePages
{
    internal CodePages()
    {
    }

    /// <summary>Converts bytes, as many as there is room for; nothing is terminated.</summary>
    /// <param name="MaxBytesInUnicodeString">Room, bytes.</param>
    /// <param name="BytesInUnicodeString">May be null; receives the bytes written.</param>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS RtlMultiByteToUnicodeN(
        PWSTR UnicodeString, uint MaxBytesInUnicodeString, PULONG BytesInUnicodeString, PUCHAR MultiByteString, uint BytesInMultiByteString)
    {
        int count = (int)Math.Min(MaxBytesInUnicodeString / 2, BytesInMultiByteString);
        if (count > 0)
        {
            string text = Strings.Ansi.GetString(GuestMemory.Read(MultiByteString.Address, count));
            MemoryMarshal.AsBytes(text.AsSpan()).CopyTo(GuestMemory.Write(UnicodeString.Address, 2 * count));
        }
        if (!BytesInUnicodeString.IsNull) BytesInUnicodeString.Value = (uint)(2 * count);
        return STATUS_SUCCESS;
    }

    /// <summary>The bytes that a text needs in Unicode, without terminator.</summary>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS RtlMultiByteToUnicodeSize(out uint BytesInUnicodeString, PUCHAR MultiByteString, uint BytesInMultiByteString)
    {
        BytesInUnicodeString = 2 * BytesInMultiByteString;
        return STATUS_SUCCESS;
    }

    /// <summary>Converts characters, as many as there is room for; one that the code page lacks becomes '?'. Nothing is terminated.</summary>
    /// <param name="BytesInMultiByteString">May be null; receives the bytes written.</param>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS RtlUnicodeToMultiByteN(
        PUCHAR MultiByteString, uint MaxBytesInMultiByteString, PULONG BytesInMultiByteString, PWSTR UnicodeString, uint BytesInUnicodeString)
    {
        int count = (int)Math.Min(MaxBytesInMultiByteString, BytesInUnicodeString / 2);
        if (count > 0)
        {
            string text = new(MemoryMarshal.Cast<byte, char>(GuestMemory.Read(UnicodeString.Address, 2 * count)));
            Strings.Ansi.GetBytes(text).CopyTo(GuestMemory.Write(MultiByteString.Address, count));
        }
        if (!BytesInMultiByteString.IsNull) BytesInMultiByteString.Value = (uint)count;
        return STATUS_SUCCESS;
    }

    /// <summary>The bytes that a text needs in the code page, without terminator.</summary>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS RtlUnicodeToMultiByteSize(out uint BytesInMultiByteString, PWSTR UnicodeString, uint BytesInUnicodeString)
    {
        BytesInMultiByteString = BytesInUnicodeString / 2;
        return STATUS_SUCCESS;
    }

    /// <summary>Converts the next character and moves the pointer behind it.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public char RtlAnsiCharToUnicodeChar(ref PUCHAR SourceCharacter)
    {
        string text = Strings.Ansi.GetString(GuestMemory.Read(SourceCharacter.Address, 1));
        SourceCharacter = new PUCHAR(SourceCharacter.Address + 1);
        return text[0];
    }

    /// <summary>The bytes that a string needs in Unicode, with terminator.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public uint RtlxAnsiStringToUnicodeSize(PANSI_STRING AnsiString) => 2 * (AnsiString.Length + 1u);

    /// <summary>The bytes that a string needs in the code page, with terminator.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public uint RtlxUnicodeStringToAnsiSize(PUNICODE_STRING UnicodeString) => (uint)(UnicodeString.Length / 2 + 1);
}
