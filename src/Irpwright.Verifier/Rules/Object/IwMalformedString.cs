namespace Irpwright.Verification.Rules;

/// <summary>Lengths of a UNICODE_STRING are in bytes, two for each character.</summary>
sealed class IwMalformedString : Rule, IWatchCalls
{
    const ulong ObjectNameOffset = 0x10; // in OBJECT_ATTRIBUTES

    public static RuleInfo Definition { get; } = new(nameof(IwMalformedString), RuleFamily.Object, Error,
        Pages.Detected, Codes.Detected(0xE4),
        "A Zw routine is called with a UNICODE_STRING of odd length, of a length above its maximum, or whose buffer is user memory.",
        static () => new IwMalformedString())
    {
        Covers = ["DV-C4-0xE4"],
        Instead = "Make strings by RtlInitUnicodeString or RTL_CONSTANT_STRING, and copy those of a requestor first.",
        Wrong = """
            name.Buffer = L"Start";
            name.Length = name.MaximumLength = 5;
            status = ZwQueryValueKey(key, &name, KeyValuePartialInformation, buffer, length, &needed);
            """,
        Right = """
            RtlInitUnicodeString(&name, L"Start");
            status = ZwQueryValueKey(key, &name, KeyValuePartialInformation, buffer, length, &needed);
            """,
    };

    /// <summary>Which argument is a UNICODE_STRING, or is OBJECT_ATTRIBUTES.</summary>
    static readonly Dictionary<string, (int String, int Attributes)> Names = new(StringComparer.Ordinal)
    {
        ["ZwCreateFile"] = (-1, 2),
        ["ZwOpenFile"] = (-1, 2),
        ["ZwDeleteFile"] = (-1, 0),
        ["ZwCreateKey"] = (4, 2),
        ["ZwOpenKey"] = (-1, 2),
        ["ZwOpenKeyEx"] = (-1, 2),
        ["ZwQueryValueKey"] = (1, -1),
        ["ZwSetValueKey"] = (1, -1),
        ["ZwDeleteValueKey"] = (1, -1),
        ["ZwRenameKey"] = (1, -1),
        ["ZwCreateEvent"] = (-1, 2),
        ["ZwOpenEvent"] = (-1, 2),
        ["ZwCreateSection"] = (-1, 2),
        ["ZwOpenSection"] = (-1, 2),
        ["ZwCreateDirectoryObject"] = (-1, 2),
        ["ZwOpenDirectoryObject"] = (-1, 2),
        ["ZwCreateSymbolicLinkObject"] = (3, 2),
        ["ZwOpenSymbolicLinkObject"] = (-1, 2),
        ["ZwLoadDriver"] = (0, -1),
        ["ZwUnloadDriver"] = (0, -1),
    };

    public IReadOnlyList<KernelExport> Calls { get; } = [.. KernelExports.All.Where(export => Names.ContainsKey(export.Name))];

    public void Called(in DdiCalled e)
    {
        (int text, int attributes) = Names[e.Export.Name];
        if (text >= 0) Check(in e, e.Arguments[text]);
        if (attributes >= 0 && e.Arguments[attributes] is var address && IsKernelMemory(address, ObjectNameOffset + 8))
            Check(in e, GuestMemory.Ref<ulong>(address + ObjectNameOffset));
    }

    static bool IsKernelMemory(ulong address, ulong size) => address >= GuestMemory.KernelHalf && GuestMemory.IsAccessible(address, size, PageAccess.Read);

    void Check(in DdiCalled e, ulong address)
    {
        if (!IsKernelMemory(address, UNICODE_STRING.SizeOf)) return;
        UNICODE_STRING text = new PUNICODE_STRING(address).Value;
        string? wrong = text.Length % 2 != 0 ? $"of {text.Length} bytes, which is an odd number"
            : text.Length > text.MaximumLength ? $"of {text.Length} bytes, more than its maximum of {text.MaximumLength}"
            : text.Length > 0 && text.Buffer.Address <= Mdls.HighestUserAddress ? $"whose buffer is at {Format.Address(text.Buffer.Address)}, not in the kernel"
            : null;
        if (wrong is null) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default, $"{Tracker.Caller} called {e.Export.SourceName} with a UNICODE_STRING {wrong}.", (ulong)e.Export.Index);
    }
}
