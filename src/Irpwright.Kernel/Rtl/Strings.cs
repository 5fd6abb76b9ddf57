using System.Runtime.InteropServices;
using System.Text;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Counted strings, and constant strings of C# drivers.</summary>
public sealed unsafe class Strings
{
    const uint Tag = 0x6774_7253; // "Strg"
    const ushort LongestString = 0xFFFC; // bytes, so that length and terminator fit into 16 bits

    /// <summary>The system's ANSI code page, 1252.</summary>
    internal static readonly Encoding Ansi = CodePagesEncodingProvider.Instance.GetEncoding(1252)!;

    readonly Machine machine;
    readonly Lock gate = new();
    readonly Dictionary<string, PUNICODE_STRING> constants = new(StringComparer.Ordinal);
    ulong constantsNext;
    ulong constantsEnd;

    internal Strings(Machine machine)
    {
        this.machine = machine;
        DefineCodePages();
    }

    /// <summary>Code pages 1252 and 437: no character has two bytes, so no byte leads one.</summary>
    void DefineCodePages()
    {
        const ulong leadBytesSize = 256 * sizeof(ushort);
        KernelVariables variables = machine.Variables;
        ulong leadBytes = variables.Room(leadBytesSize);
        variables.DefineValue<BOOLEAN>("NlsMbCodePageTag", false);
        variables.DefineValue<BOOLEAN>("NlsMbOemCodePageTag", false);
        variables.DefineValue("NlsLeadByteInfo", leadBytes);
        variables.DefineValue("NlsOemLeadByteInfo", leadBytes);
        variables.DefineValue<ushort>("NlsAnsiCodePage", 1252);
        variables.DefineValue<ushort>("NlsOemCodePage", 437);
    }

    /// <summary>The characters of a counted string; a NULL string is empty.</summary>
    /// <exception cref="GuestFaultException">The string or its buffer is not readable; names the first bad address.</exception>
    public static string Read(PUNICODE_STRING value)
    {
        if (value.IsNull) return "";
        return value.Length == 0 ? "" : new string(Characters(value));
    }

    /// <summary>The characters of a counted ANSI string; a NULL string is empty.</summary>
    /// <exception cref="GuestFaultException">As <see cref="Read(PUNICODE_STRING)"/>.</exception>
    public static string Read(PANSI_STRING value) =>
        value.IsNull || value.Length == 0 ? "" : Ansi.GetString(GuestMemory.Read(value.Buffer.Address, value.Length));

    /// <summary>The characters up to a terminating null.</summary>
    public static string Read(PWSTR text) =>
        new(MemoryMarshal.Cast<byte, char>(GuestMemory.Read(text.Address, 2 * checked((int)LengthOf<char>(text.Address)))));

    /// <summary>The ANSI characters up to a terminating null.</summary>
    public static string Read(PUCHAR text) => Ansi.GetString(GuestMemory.Read(text.Address, checked((int)LengthOf<byte>(text.Address))));

    /// <summary>A read-only string in the machine's memory, null-terminated; the same text always gives the same one.</summary>
    public PUNICODE_STRING Constant(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        int bytes = 2 * text.Length;
        if (bytes > LongestString)
            throw new ArgumentException($"A counted string has at most {LongestString / 2} characters; this one has {text.Length}.", nameof(text));
        lock (gate)
        {
            if (constants.TryGetValue(text, out PUNICODE_STRING constant)) return constant;
            ulong size = ((ulong)(UNICODE_STRING.SizeOf + bytes + 2) + 15) & ~15ul;
            if (constantsEnd - constantsNext < size)
            {
                ulong chunk = Math.Max(size, 4 * GuestMemory.PageSize);
                constantsNext = machine.Memory.DriverData.Allocate(chunk, PageAccess.Read);
                if (constantsNext == 0) throw new InsufficientMemoryException("This machine has no room for more constant strings.");
                constantsEnd = constantsNext + chunk;
            }
            constant = new PUNICODE_STRING(constantsNext);
            constantsNext += size;
            ulong buffer = constant.Address + UNICODE_STRING.SizeOf;
            // Drivers may only read it, so it is written past their access.
            text.CopyTo(new Span<char>(GuestMemory.Translate(buffer, (ulong)bytes + 2, PageAccess.Read), text.Length));
            constant.Value = new UNICODE_STRING { Length = (ushort)bytes, MaximumLength = (ushort)(bytes + 2), Buffer = new PWSTR(buffer) };
            constants.Add(text, constant);
            return constant;
        }
    }

    // ---- Making strings

    /// <summary>Makes a counted string of a null-terminated one, without copying. IRQL &lt;= DISPATCH_LEVEL when it is resident.</summary>
    [KernelExport]
    public void RtlInitUnicodeString(PUNICODE_STRING DestinationString, PWSTR SourceString)
    {
        ulong length = SourceString.IsNull ? 0 : Math.Min(2 * LengthOf<char>(SourceString.Address, LongestString / 2), LongestString);
        DestinationString.Value = new UNICODE_STRING
        {
            Length = (ushort)length,
            MaximumLength = (ushort)(SourceString.IsNull ? 0 : length + 2),
            Buffer = SourceString,
        };
    }

    /// <summary>Makes a counted string of a C# constant.</summary>
    [WdkInline]
    public void RtlInitUnicodeString(PUNICODE_STRING DestinationString, string SourceString) =>
        DestinationString.Value = Constant(SourceString).Value;

    /// <summary>Makes a counted string of a null-terminated one, without copying. IRQL &lt;= DISPATCH_LEVEL when it is resident.</summary>
    [KernelExport]
    public void RtlInitAnsiString(PANSI_STRING DestinationString, PUCHAR SourceString)
    {
        ulong length = SourceString.IsNull ? 0 : LengthOf<byte>(SourceString.Address, LongestString);
        DestinationString.Value = new ANSI_STRING
        {
            Length = (ushort)length,
            MaximumLength = (ushort)(SourceString.IsNull ? 0 : length + 1),
            Buffer = SourceString,
        };
    }

    /// <inheritdoc cref="RtlInitAnsiString"/>
    [KernelExport]
    public void RtlInitString(PANSI_STRING DestinationString, PUCHAR SourceString) => RtlInitAnsiString(DestinationString, SourceString);

    /// <summary>Makes an empty string with a buffer of <paramref name="BufferSize"/> bytes.</summary>
    [WdkInline]
    public void RtlInitEmptyUnicodeString(PUNICODE_STRING DestinationString, PWSTR Buffer, ushort BufferSize) =>
        DestinationString.Value = new UNICODE_STRING { MaximumLength = BufferSize, Buffer = Buffer };

    /// <summary>Copies a null-terminated string into allocated memory. IRQL = PASSIVE_LEVEL.</summary>
    /// <returns>FALSE when memory is short. RtlFreeUnicodeString frees the copy.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public BOOLEAN RtlCreateUnicodeString(PUNICODE_STRING DestinationString, PWSTR SourceString, [Caller] ulong caller = 0)
    {
        ulong length = 2 * LengthOf<char>(SourceString.Address);
        if (length > LongestString || !TryAllocate(length + 2, caller, out ulong buffer)) return false;
        GuestMemory.Read(SourceString.Address, (int)length + 2).CopyTo(GuestMemory.Write(buffer, (int)length + 2));
        DestinationString.Value = new UNICODE_STRING
        {
            Length = (ushort)length,
            MaximumLength = (ushort)(length + 2),
            Buffer = new PWSTR(buffer),
        };
        return true;
    }

    /// <summary>Frees a buffer that an Rtl routine allocated, and empties the string. IRQL &lt;= APC_LEVEL.</summary>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void RtlFreeUnicodeString(PUNICODE_STRING UnicodeString)
    {
        if (UnicodeString.Buffer.IsNull) return;
        machine.Pool.ExFreePool(UnicodeString.Buffer);
        UnicodeString.Value = default;
    }

    /// <summary>Frees a buffer that an Rtl routine allocated, and empties the string. IRQL &lt;= APC_LEVEL.</summary>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void RtlFreeAnsiString(PANSI_STRING AnsiString)
    {
        if (AnsiString.Buffer.IsNull) return;
        machine.Pool.ExFreePool(AnsiString.Buffer);
        AnsiString.Value = default;
    }

    // ---- Copying and appending

    /// <summary>Copies as much as fits; a NULL source empties the destination. Any IRQL when resident.</summary>
    [KernelExport]
    public void RtlCopyUnicodeString(PUNICODE_STRING DestinationString, PUNICODE_STRING SourceString)
    {
        if (SourceString.IsNull)
        {
            DestinationString.Length = 0;
            return;
        }
        ushort length = Math.Min(SourceString.Length, DestinationString.MaximumLength);
        CopyBytes(SourceString.Buffer.Address, DestinationString.Buffer.Address, length);
        DestinationString.Length = length;
        Terminate(DestinationString);
    }

    /// <summary>Appends a counted string. Any IRQL when resident.</summary>
    /// <returns>STATUS_BUFFER_TOO_SMALL, with nothing changed, when it does not fit.</returns>
    [KernelExport]
    public NTSTATUS RtlAppendUnicodeStringToString(PUNICODE_STRING Destination, PUNICODE_STRING Source) =>
        Append(Destination, Source.Buffer.Address, Source.Length);

    /// <summary>Appends a null-terminated string; NULL appends nothing. Any IRQL when resident.</summary>
    /// <returns>STATUS_BUFFER_TOO_SMALL, with nothing changed, when it does not fit.</returns>
    [KernelExport]
    public NTSTATUS RtlAppendUnicodeToString(PUNICODE_STRING Destination, PWSTR Source) =>
        Source.IsNull ? STATUS_SUCCESS : Append(Destination, Source.Address, 2 * LengthOf<char>(Source.Address));

    /// <summary>Appends a C# constant.</summary>
    [WdkInline]
    public NTSTATUS RtlAppendUnicodeToString(PUNICODE_STRING Destination, string Source) =>
        RtlAppendUnicodeStringToString(Destination, Constant(Source));

    static NTSTATUS Append(PUNICODE_STRING destination, ulong source, ulong length)
    {
        ushort used = destination.Length;
        if (used + length > destination.MaximumLength) return STATUS_BUFFER_TOO_SMALL;
        CopyBytes(source, destination.Buffer.Address + used, (int)length);
        destination.Length = (ushort)(used + length);
        Terminate(destination);
        return STATUS_SUCCESS;
    }

    // ---- Comparing

    /// <summary>Compares by code unit; negative, 0 or positive as String1 is less, equal or greater. IRQL = PASSIVE_LEVEL.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public int RtlCompareUnicodeString(PUNICODE_STRING String1, PUNICODE_STRING String2, BOOLEAN CaseInSensitive) =>
        Compare(Characters(String1), Characters(String2), CaseInSensitive);

    /// <summary>Whether two strings are equal. IRQL = PASSIVE_LEVEL.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public BOOLEAN RtlEqualUnicodeString(PUNICODE_STRING String1, PUNICODE_STRING String2, BOOLEAN CaseInSensitive) =>
        String1.Length == String2.Length && Compare(Characters(String1), Characters(String2), CaseInSensitive) == 0;

    /// <summary>Compares strings of the ANSI code page by character; negative, 0 or positive as String1 is less, equal or greater. IRQL = PASSIVE_LEVEL.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public int RtlCompareString(PANSI_STRING String1, PANSI_STRING String2, BOOLEAN CaseInSensitive) =>
        Compare(Read(String1), Read(String2), CaseInSensitive);

    /// <summary>Whether two strings of the ANSI code page are equal. IRQL = PASSIVE_LEVEL.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public BOOLEAN RtlEqualString(PANSI_STRING String1, PANSI_STRING String2, BOOLEAN CaseInSensitive) =>
        String1.Length == String2.Length && RtlCompareString(String1, String2, CaseInSensitive) == 0;

    /// <summary>Whether String2 begins with String1. IRQL = PASSIVE_LEVEL.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public BOOLEAN RtlPrefixUnicodeString(PUNICODE_STRING String1, PUNICODE_STRING String2, BOOLEAN CaseInSensitive) =>
        String1.Length <= String2.Length && Compare(Characters(String1), Characters(String2)[..(String1.Length / 2)], CaseInSensitive) == 0;

    internal static int Compare(ReadOnlySpan<char> first, ReadOnlySpan<char> second, bool ignoreCase)
    {
        int common = Math.Min(first.Length, second.Length);
        for (int i = 0; i < common; i++)
        {
            char a = first[i], b = second[i];
            if (a == b) continue;
            if (ignoreCase && char.ToUpperInvariant(a) == char.ToUpperInvariant(b)) continue;
            return ignoreCase ? char.ToUpperInvariant(a) - char.ToUpperInvariant(b) : a - b;
        }
        return first.Length - second.Length;
    }

    // ---- Converting

    /// <summary>The upper-case form of a character. IRQL &lt;= APC_LEVEL.</summary>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public char RtlUpcaseUnicodeChar(char SourceCharacter) => char.ToUpperInvariant(SourceCharacter);

    /// <summary>Converts to upper case. IRQL &lt;= APC_LEVEL.</summary>
    /// <returns>STATUS_BUFFER_OVERFLOW when the destination is too small, STATUS_NO_MEMORY when memory is short.</returns>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS RtlUpcaseUnicodeString(PUNICODE_STRING DestinationString, PUNICODE_STRING SourceString,
        BOOLEAN AllocateDestinationString, [Caller] ulong caller = 0)
    {
        ushort length = SourceString.Length;
        if (AllocateDestinationString)
        {
            if (!TryAllocate(length, caller, out ulong buffer)) return STATUS_NO_MEMORY;
            DestinationString.MaximumLength = length;
            DestinationString.Buffer = new PWSTR(buffer);
        }
        else if (length > DestinationString.MaximumLength)
        {
            return STATUS_BUFFER_OVERFLOW;
        }
        ReadOnlySpan<char> source = Characters(SourceString);
        Span<char> destination = WritableCharacters(DestinationString.Buffer.Address, source.Length);
        for (int i = 0; i < source.Length; i++) destination[i] = char.ToUpperInvariant(source[i]);
        DestinationString.Length = length;
        return STATUS_SUCCESS;
    }

    /// <summary>Converts to the ANSI code page; a character that it lacks becomes '?'. IRQL = PASSIVE_LEVEL.</summary>
    /// <returns>
    /// STATUS_BUFFER_OVERFLOW when text and terminator do not fit, STATUS_INVALID_PARAMETER_2 when they never could,
    /// STATUS_NO_MEMORY when memory is short.
    /// </returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL, FailsWith = DdiFailure.Status)]
    public NTSTATUS RtlUnicodeStringToAnsiString(PANSI_STRING DestinationString, PUNICODE_STRING SourceString,
        BOOLEAN AllocateDestinationString, [Caller] ulong caller = 0)
    {
        byte[] text = Ansi.GetBytes(Read(SourceString));
        ulong size = (ulong)text.Length + 1;
        if (AllocateDestinationString)
        {
            if (!TryAllocate(size, caller, out ulong buffer)) return STATUS_NO_MEMORY;
            DestinationString.MaximumLength = (ushort)size;
            DestinationString.Buffer = new PUCHAR(buffer);
        }
        else if (size > DestinationString.MaximumLength)
        {
            return STATUS_BUFFER_OVERFLOW;
        }
        Span<byte> destination = GuestMemory.Write(DestinationString.Buffer.Address, (int)size);
        text.CopyTo(destination);
        destination[^1] = 0;
        DestinationString.Length = (ushort)text.Length;
        return STATUS_SUCCESS;
    }

    /// <summary>Converts from the ANSI code page. IRQL = PASSIVE_LEVEL.</summary>
    /// <inheritdoc cref="RtlUnicodeStringToAnsiString"/>
    [KernelExport(MaxIrql = PASSIVE_LEVEL, FailsWith = DdiFailure.Status)]
    public NTSTATUS RtlAnsiStringToUnicodeString(PUNICODE_STRING DestinationString, PANSI_STRING SourceString,
        BOOLEAN AllocateDestinationString, [Caller] ulong caller = 0) => Store(DestinationString, Read(SourceString), AllocateDestinationString, caller);

    /// <summary>Writes a number in digits. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="Base">2, 8, 10, 16, or 0 for 10.</param>
    /// <returns>STATUS_INVALID_PARAMETER for another base, STATUS_BUFFER_OVERFLOW when digits and terminator do not fit.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS RtlIntegerToUnicodeString(uint Value, uint Base, PUNICODE_STRING String)
    {
        string? digits = Base switch
        {
            0 or 10 => Value.ToString(),
            2 => Value.ToString("b"),
            8 => Convert.ToString(Value, 8),
            16 => Value.ToString("X"),
            _ => null,
        };
        return digits is null ? STATUS_INVALID_PARAMETER : Store(String, digits, allocate: false, 0);
    }

    /// <summary>Reads a number: white space, a sign, then digits up to the first character that is none. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="Base">2, 8, 10 or 16; 0: as a prefix 0x, 0o or 0b says, otherwise 10.</param>
    /// <returns>STATUS_INVALID_PARAMETER for an empty string or another base.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS RtlUnicodeStringToInteger(PUNICODE_STRING String, uint Base, out uint Value)
    {
        Value = 0;
        if (String.Length < 2 || Base is not (0 or 2 or 8 or 10 or 16)) return STATUS_INVALID_PARAMETER;
        ReadOnlySpan<char> text = Characters(String);
        while (!text.IsEmpty && text[0] <= ' ') text = text[1..];
        bool negative = text.StartsWith("-");
        if (negative || text.StartsWith("+")) text = text[1..];
        if (Base == 0)
        {
            Base = text switch { ['0', 'x', ..] => 16, ['0', 'o', ..] => 8, ['0', 'b', ..] => 2, _ => 10u };
            if (Base != 10) text = text[2..];
        }
        uint value = 0;
        foreach (char c in text)
        {
            uint digit = char.IsAsciiHexDigit(c) ? (uint)Convert.ToInt32(c.ToString(), 16) : uint.MaxValue;
            if (digit >= Base) break;
            value = unchecked(value * Base + digit);
        }
        Value = negative ? unchecked(0 - value) : value;
        return STATUS_SUCCESS;
    }

    internal NTSTATUS Store(PUNICODE_STRING destination, string text, bool allocate, ulong caller)
    {
        ulong length = 2 * (ulong)text.Length;
        if (length > LongestString) return STATUS_INVALID_PARAMETER_2;
        if (allocate)
        {
            if (!TryAllocate(length + 2, caller, out ulong buffer)) return STATUS_NO_MEMORY;
            destination.MaximumLength = (ushort)(length + 2);
            destination.Buffer = new PWSTR(buffer);
        }
        else if (length + 2 > destination.MaximumLength)
        {
            return STATUS_BUFFER_OVERFLOW;
        }
        text.CopyTo(WritableCharacters(destination.Buffer.Address, text.Length));
        destination.Length = (ushort)length;
        Terminate(destination);
        return STATUS_SUCCESS;
    }

    bool TryAllocate(ulong size, ulong caller, out ulong buffer)
    {
        buffer = machine.Pool.Allocate(POOL_TYPE.PagedPool, size, Tag, caller);
        return buffer != 0;
    }

    // The terminator is a courtesy: it is written where there is room, and never counted.
    static void Terminate(PUNICODE_STRING value)
    {
        if (value.Length + 2 <= value.MaximumLength) WritableCharacters(value.Buffer.Address + value.Length, 1)[0] = '\0';
    }

    static ReadOnlySpan<char> Characters(PUNICODE_STRING value) =>
        value.Length == 0 ? [] : MemoryMarshal.Cast<byte, char>(GuestMemory.Read(value.Buffer.Address, value.Length));

    static Span<char> WritableCharacters(ulong address, int count) =>
        count == 0 ? [] : MemoryMarshal.Cast<byte, char>(GuestMemory.Write(address, 2 * count));

    static void CopyBytes(ulong source, ulong destination, int length)
    {
        if (length != 0) GuestMemory.Read(source, length).CopyTo(GuestMemory.Write(destination, length));
    }

    /// <summary>Elements before the terminating zero, or <paramref name="maximum"/> if none of that many is zero.</summary>
    /// <exception cref="GuestFaultException">There is no zero up to the end of readable memory.</exception>
    internal static ulong LengthOf<T>(ulong address, ulong maximum = int.MaxValue) where T : unmanaged, IEquatable<T>
    {
        ulong count = 0;
        while (count < maximum)
        {
            ulong next = address + count * (ulong)sizeof(T);
            // Page by page: what lies behind the terminator need not be readable. One element may straddle two pages.
            ulong inPage = Math.Clamp((GuestMemory.PageSize - (next & (GuestMemory.PageSize - 1))) / (ulong)sizeof(T), 1, maximum - count);
            byte* host = GuestMemory.Translate(next, inPage * (ulong)sizeof(T), PageAccess.Read);
            int index = new ReadOnlySpan<T>(host, (int)inPage).IndexOf(default(T));
            if (index >= 0) return count + (ulong)index;
            count += inPage;
        }
        return maximum;
    }
}
