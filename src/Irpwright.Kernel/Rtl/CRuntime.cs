using System.Runtime.InteropServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>
/// The C run-time routines that the kernel exports. They check what they access, not what the caller meant. Any IRQL when resident.
/// </summary>
public sealed class CRuntime
{
    internal CRuntime(Machine machine) => _ = machine;

    /// <summary>
    /// Called at the beginning of a function whose frame is larger than a page, to touch its pages in order: a kernel stack is there as a whole.
    /// Keeps all registers.
    /// </summary>
    [KernelExport] public void __chkstk()
    {
    }

    // ---- Length, copying

    [KernelExport] public ulong strlen(PUCHAR String) => Strings.LengthOf<byte>(String.Address);

    [KernelExport] public ulong wcslen(PWSTR String) => Strings.LengthOf<char>(String.Address);

    [KernelExport] public ulong strnlen(PUCHAR String, ulong MaxCount) => Strings.LengthOf<byte>(String.Address, MaxCount);

    [KernelExport] public ulong wcsnlen(PWSTR String, ulong MaxCount) => Strings.LengthOf<char>(String.Address, MaxCount);

    [KernelExport]
    public PUCHAR strcpy(PUCHAR Destination, PUCHAR Source)
    {
        Move<byte>(Destination.Address, Source.Address, Strings.LengthOf<byte>(Source.Address) + 1);
        return Destination;
    }

    [KernelExport]
    public PWSTR wcscpy(PWSTR Destination, PWSTR Source)
    {
        Move<char>(Destination.Address, Source.Address, Strings.LengthOf<char>(Source.Address) + 1);
        return Destination;
    }

    [KernelExport]
    public PUCHAR strcat(PUCHAR Destination, PUCHAR Source)
    {
        strcpy(new PUCHAR(Destination.Address + strlen(Destination)), Source);
        return Destination;
    }

    [KernelExport]
    public PWSTR wcscat(PWSTR Destination, PWSTR Source)
    {
        wcscpy(new PWSTR(Destination.Address + 2 * wcslen(Destination)), Source);
        return Destination;
    }

    /// <summary>
    /// Copies at most that many characters and fills the rest with zeros; a source of that length or more leaves no terminator.
    /// </summary>
    [KernelExport]
    public PUCHAR strncpy(PUCHAR Destination, PUCHAR Source, ulong Count)
    {
        CopyAtMost<byte>(Destination.Address, Source.Address, Count);
        return Destination;
    }

    /// <inheritdoc cref="strncpy"/>
    [KernelExport]
    public PWSTR wcsncpy(PWSTR Destination, PWSTR Source, ulong Count)
    {
        CopyAtMost<char>(Destination.Address, Source.Address, Count);
        return Destination;
    }

    [KernelExport]
    public PWSTR wcsncat(PWSTR Destination, PWSTR Source, ulong Count)
    {
        ulong end = Destination.Address + 2 * wcslen(Destination);
        ulong length = Strings.LengthOf<char>(Source.Address, Count);
        Move<char>(end, Source.Address, length);
        GuestMemory.Write(end + 2 * length, 2).Clear();
        return Destination;
    }

    // ---- Comparing

    [KernelExport]
    public int strcmp(PUCHAR String1, PUCHAR String2) =>
        Compare<byte>(String1.Address, String2.Address, int.MaxValue, ignoreCase: false);

    [KernelExport]
    public int wcscmp(PWSTR String1, PWSTR String2) =>
        Compare<char>(String1.Address, String2.Address, int.MaxValue, ignoreCase: false);

    [KernelExport]
    public int strncmp(PUCHAR String1, PUCHAR String2, ulong Count) =>
        Compare<byte>(String1.Address, String2.Address, Count, ignoreCase: false);

    [KernelExport]
    public int wcsncmp(PWSTR String1, PWSTR String2, ulong Count) =>
        Compare<char>(String1.Address, String2.Address, Count, ignoreCase: false);

    [KernelExport]
    public int _stricmp(PUCHAR String1, PUCHAR String2) =>
        Compare<byte>(String1.Address, String2.Address, int.MaxValue, ignoreCase: true);

    [KernelExport]
    public int _wcsicmp(PWSTR String1, PWSTR String2) =>
        Compare<char>(String1.Address, String2.Address, int.MaxValue, ignoreCase: true);

    [KernelExport]
    public int _strnicmp(PUCHAR String1, PUCHAR String2, ulong Count) =>
        Compare<byte>(String1.Address, String2.Address, Count, ignoreCase: true);

    [KernelExport]
    public int _wcsnicmp(PWSTR String1, PWSTR String2, ulong Count) =>
        Compare<char>(String1.Address, String2.Address, Count, ignoreCase: true);

    // ---- Searching

    [KernelExport] public PUCHAR strchr(PUCHAR String, int Character) => new(Find(String.Address, (byte)Character, last: false));

    [KernelExport] public PUCHAR strrchr(PUCHAR String, int Character) => new(Find(String.Address, (byte)Character, last: true));

    [KernelExport] public PWSTR wcschr(PWSTR String, char Character) => new(Find(String.Address, Character, last: false));

    [KernelExport] public PWSTR wcsrchr(PWSTR String, char Character) => new(Find(String.Address, Character, last: true));

    [KernelExport] public PUCHAR strstr(PUCHAR String, PUCHAR Search) => new(Find<byte>(String.Address, Search.Address));

    [KernelExport] public PWSTR wcsstr(PWSTR String, PWSTR Search) => new(Find<char>(String.Address, Search.Address));

    [KernelExport] public int tolower(int Character) => Character is >= 'A' and <= 'Z' ? Character + 32 : Character;

    [KernelExport] public int toupper(int Character) => Character is >= 'a' and <= 'z' ? Character - 32 : Character;

    [KernelExport] public char towlower(char Character) => char.ToLowerInvariant(Character);

    [KernelExport] public char towupper(char Character) => char.ToUpperInvariant(Character);

    // ---- Formatting

    /// <summary>Formats text and returns its length, the terminator not counted.</summary>
    [KernelExport]
    public int sprintf(PUCHAR Buffer, PUCHAR Format, VariadicArguments arguments) => Print(Buffer, int.MaxValue, Format, arguments);

    /// <inheritdoc cref="sprintf"/>
    [KernelExport]
    public int vsprintf(PUCHAR Buffer, PUCHAR Format, PVOID Arguments) =>
        Print(Buffer, int.MaxValue, Format, VariadicArguments.FromList(Arguments));

    /// <inheritdoc cref="sprintf"/>
    [KernelExport]
    public int swprintf(PWSTR Buffer, PWSTR Format, VariadicArguments arguments) => Print(Buffer, int.MaxValue, Format, arguments);

    /// <summary>Formats at most <paramref name="Count"/> characters; the terminator is written if it is one of them.</summary>
    /// <returns>The length, or -1 when the text is longer than <paramref name="Count"/>.</returns>
    [KernelExport]
    public int _snprintf(PUCHAR Buffer, ulong Count, PUCHAR Format, VariadicArguments arguments) => Print(Buffer, Count, Format, arguments);

    /// <inheritdoc cref="_snprintf"/>
    [KernelExport]
    public int _vsnprintf(PUCHAR Buffer, ulong Count, PUCHAR Format, PVOID Arguments) =>
        Print(Buffer, Count, Format, VariadicArguments.FromList(Arguments));

    /// <inheritdoc cref="_snprintf"/>
    [KernelExport]
    public int _snwprintf(PWSTR Buffer, ulong Count, PWSTR Format, VariadicArguments arguments) => Print(Buffer, Count, Format, arguments);

    /// <inheritdoc cref="_snprintf"/>
    [KernelExport]
    public int _vsnwprintf(PWSTR Buffer, ulong Count, PWSTR Format, PVOID Arguments) =>
        Print(Buffer, Count, Format, VariadicArguments.FromList(Arguments));

    static int Print(PUCHAR buffer, ulong count, PUCHAR format, VariadicArguments arguments) =>
        Store<byte>(buffer.Address, count, Strings.Ansi.GetBytes(PrintFormat.Format(Strings.Read(format), arguments, isWide: false)));

    static int Print(PWSTR buffer, ulong count, PWSTR format, VariadicArguments arguments) =>
        Store<char>(buffer.Address, count, PrintFormat.Format(Strings.Read(format), arguments, isWide: true));

    static unsafe int Store<T>(ulong buffer, ulong count, ReadOnlySpan<T> text) where T : unmanaged
    {
        bool fits = (ulong)text.Length <= count;
        ReadOnlySpan<T> part = fits ? text : text[..(int)count];
        int written = part.Length + ((ulong)part.Length < count ? 1 : 0);
        Span<T> destination = MemoryMarshal.Cast<byte, T>(GuestMemory.Write(buffer, written * sizeof(T)));
        part.CopyTo(destination);
        if (written > part.Length) destination[part.Length] = default;
        return fits ? text.Length : -1;
    }

    static unsafe void Move<T>(ulong destination, ulong source, ulong count) where T : unmanaged
    {
        int bytes = checked((int)count * sizeof(T));
        GuestMemory.Read(source, bytes).CopyTo(GuestMemory.Write(destination, bytes));
    }

    static unsafe void CopyAtMost<T>(ulong destination, ulong source, ulong count) where T : unmanaged, IEquatable<T>
    {
        ulong length = Strings.LengthOf<T>(source, count);
        Span<byte> target = GuestMemory.Write(destination, checked((int)count * sizeof(T)));
        int bytes = (int)length * sizeof(T);
        GuestMemory.Read(source, bytes).CopyTo(target);
        target[bytes..].Clear();
    }

    static unsafe int Compare<T>(ulong first, ulong second, ulong count, bool ignoreCase) where T : unmanaged
    {
        for (ulong i = 0; i < count; i++)
        {
            int a = At<T>(first, i), b = At<T>(second, i);
            if (ignoreCase && a != b)
            {
                a = Lower(a);
                b = Lower(b);
            }
            if (a != b) return a < b ? -1 : 1;
            if (a == 0) return 0;
        }
        return 0;

        static int Lower(int character) => character is >= 'A' and <= 'Z' ? character + 32 : character;
    }

    static unsafe int At<T>(ulong address, ulong index) where T : unmanaged =>
        sizeof(T) == 1 ? GuestMemory.Ref<byte>(address + index) : GuestMemory.Ref<char>(address + 2 * index);

    // The terminator can be looked for, too.
    static unsafe ulong Find<T>(ulong text, T character, bool last) where T : unmanaged, IEquatable<T>
    {
        ReadOnlySpan<T> span = MemoryMarshal.Cast<byte, T>(GuestMemory.Read(text, checked((int)Strings.LengthOf<T>(text) + 1) * sizeof(T)));
        int index = last ? span.LastIndexOf(character) : span.IndexOf(character);
        return index < 0 ? 0 : text + (ulong)(index * sizeof(T));
    }

    static unsafe ReadOnlySpan<T> Text<T>(ulong address) where T : unmanaged, IEquatable<T> =>
        MemoryMarshal.Cast<byte, T>(GuestMemory.Read(address, checked((int)Strings.LengthOf<T>(address)) * sizeof(T)));

    static unsafe ulong Find<T>(ulong text, ulong search) where T : unmanaged, IEquatable<T>
    {
        int index = Text<T>(text).IndexOf(Text<T>(search));
        return index < 0 ? 0 : text + (ulong)(index * sizeof(T));
    }
}
