using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Names of files as file systems look at them: parts, wildcards and equality.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/nf-ntifs-_fsrtl_advanced_fcb_header-fsrtlisnameinexpression"/>
public sealed class FileNames
{
    // What programs' *.*, ? and . become, so that they match as DOS did.
    const char DosStar = '<', DosQm = '>', DosDot = '"';

    static readonly System.Buffers.SearchValues<char> Wildcards = System.Buffers.SearchValues.Create(['*', '?', DosStar, DosQm, DosDot]);

    readonly Machine machine;

    internal FileNames(Machine machine) => this.machine = machine;

    /// <summary>Whether a name matches a pattern. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="Expression">With *, ?, DOS_STAR, DOS_QM and DOS_DOT; in upper case if <paramref name="IgnoreCase"/>.</param>
    /// <param name="UpcaseTable">An upper-case character for each character, or null for the system's.</param>
    /// <returns>Two empty strings match; one empty string matches nothing.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public BOOLEAN FsRtlIsNameInExpression(PUNICODE_STRING Expression, PUNICODE_STRING Name, BOOLEAN IgnoreCase, PWSTR UpcaseTable)
    {
        string pattern = Strings.Read(Expression), name = Strings.Read(Name);
        if (pattern.Length == 0 || name.Length == 0) return pattern.Length == name.Length;
        if (IgnoreCase) name = Upcase(name, UpcaseTable);
        return IsMatch(pattern, name);
    }

    /// <summary>From the end of both, so that each pair of a rest of the pattern and a rest of the name is looked at once.</summary>
    static bool IsMatch(string pattern, string name)
    {
        int lastDot = name.LastIndexOf('.');
        // What the rest of the pattern matches, by where the name's rest begins.
        bool[] rest = new bool[name.Length + 1], matches = new bool[name.Length + 1];
        rest[name.Length] = true;
        for (int p = pattern.Length - 1; p >= 0; p--)
        {
            for (int n = name.Length; n >= 0; n--)
            {
                bool isEnd = n == name.Length;
                matches[n] = pattern[p] switch
                {
                    '*' => rest[n] || (!isEnd && matches[n + 1]),
                    DosStar => rest[n] || (!isEnd && n != lastDot && matches[n + 1]),
                    DosQm => isEnd || name[n] == '.' ? rest[n] : rest[n + 1],
                    DosDot => isEnd ? rest[n] : name[n] == '.' && rest[n + 1],
                    '?' => !isEnd && rest[n + 1],
                    char c => !isEnd && name[n] == c && rest[n + 1],
                };
            }
            (rest, matches) = (matches, rest);
        }
        return rest[0];
    }

    /// <summary>Whether a name has characters that stand for others. IRQL = PASSIVE_LEVEL.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public BOOLEAN FsRtlDoesNameContainWildCards(PUNICODE_STRING Name) => Strings.Read(Name).AsSpan().ContainsAny(Wildcards);

    /// <summary>Splits a path after its first name. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="Path">A backslash at its beginning does not count.</param>
    /// <param name="FirstName">Receives a part of the path's buffer.</param>
    /// <param name="RemainingName">What follows the backslash behind the first name.</param>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public void FsRtlDissectName(PUNICODE_STRING Path, PUNICODE_STRING FirstName, PUNICODE_STRING RemainingName)
    {
        string path = Strings.Read(Path);
        ulong buffer = Path.Buffer.Address;
        int begin = path.StartsWith('\\') ? 1 : 0;
        int end = path.IndexOf('\\', begin);
        FirstName.Value = Part(begin, (end < 0 ? path.Length : end) - begin);
        RemainingName.Value = end < 0 ? default : Part(end + 1, path.Length - end - 1);

        UNICODE_STRING Part(int start, int length) => length == 0 ? default
            : new UNICODE_STRING { Length = (ushort)(2 * length), MaximumLength = (ushort)(2 * length), Buffer = new PWSTR(buffer + 2 * (ulong)start) };
    }

    /// <summary>Whether two names without wildcards are the same. IRQL = PASSIVE_LEVEL.</summary>
    /// <inheritdoc cref="FsRtlIsNameInExpression"/>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public BOOLEAN FsRtlAreNamesEqual(PUNICODE_STRING ConstantNameA, PUNICODE_STRING ConstantNameB, BOOLEAN IgnoreCase, PWSTR UpcaseTable)
    {
        string a = Strings.Read(ConstantNameA), b = Strings.Read(ConstantNameB);
        return IgnoreCase ? Upcase(a, UpcaseTable) == Upcase(b, UpcaseTable) : a == b;
    }

    string Upcase(string text, PWSTR table) =>
        string.Create(text.Length, (machine, text, table), static (result, state) =>
        {
            for (int i = 0; i < result.Length; i++)
                result[i] = state.table.IsNull ? state.machine.Strings.RtlUpcaseUnicodeChar(state.text[i]) : state.table[state.text[i]];
        });

    // ---- Exceptions

    /// <summary>Whether a file system may handle an exception: it is no sign of a bug. Any IRQL.</summary>
    [KernelExport]
    public BOOLEAN FsRtlIsNtstatusExpected(NTSTATUS Exception) => Exception is not (NTSTATUS.STATUS_DATATYPE_MISALIGNMENT or NTSTATUS.STATUS_ACCESS_VIOLATION
        or NTSTATUS.STATUS_ILLEGAL_INSTRUCTION or NTSTATUS.STATUS_INSTRUCTION_MISALIGNMENT);

    /// <summary>An exception that a file system may handle as it is, any other as one that it may. Any IRQL.</summary>
    [KernelExport]
    public NTSTATUS FsRtlNormalizeNtstatus(NTSTATUS Exception, NTSTATUS GenericException) => FsRtlIsNtstatusExpected(Exception) ? Exception : GenericException;
}
