namespace Irpwright.Verification.Rules;

/// <summary>A Zw routine takes every address for the kernel's own: nothing is probed, and the program may take the memory away.</summary>
sealed class IwUserAddressInZwCall : Rule, IWatchCalls
{
    // What lies below is no address, nor is what a C# driver's variable is shown as.
    const ulong FirstUserAddress = 0x10000;

    public static RuleInfo Definition { get; } = new(nameof(IwUserAddressInZwCall), RuleFamily.Object, Warning,
        Pages.Detected, Codes.Detected(0xE3),
        "A Zw routine is called with the address of user memory as a buffer, status block, name or attributes.",
        static () => new IwUserAddressInZwCall())
    {
        Covers = ["DV-C4-0xE3", "DV-C4-0xE0"],
        Instead = "Copy the data into memory of the driver's own, inside __try, and call the Zw routine with that.",
        Wrong = "status = ZwWriteFile(file, NULL, NULL, NULL, &iosb, Irp->UserBuffer, length, &offset, NULL);",
        Right = """
            RtlCopyMemory(copy, Irp->UserBuffer, length); // inside __try
            status = ZwWriteFile(file, NULL, NULL, NULL, &iosb, copy, length, &offset, NULL);
            """,
    };

    /// <summary>Which arguments are addresses of memory that the routine uses.</summary>
    static readonly Dictionary<string, int[]> Addresses = new(StringComparer.Ordinal)
    {
        ["ZwCreateFile"] = [0, 2, 3, 4, 9],
        ["ZwOpenFile"] = [0, 2, 3],
        ["ZwDeleteFile"] = [0],
        ["ZwReadFile"] = [4, 5, 7, 8],
        ["ZwWriteFile"] = [4, 5, 7, 8],
        ["ZwDeviceIoControlFile"] = [4, 6, 8],
        ["ZwFsControlFile"] = [4, 6, 8],
        ["ZwQueryDirectoryFile"] = [4, 5, 9],
        ["ZwQueryInformationFile"] = [1, 2],
        ["ZwSetInformationFile"] = [1, 2],
        ["ZwQueryVolumeInformationFile"] = [1, 2],
        ["ZwSetVolumeInformationFile"] = [1, 2],
        ["ZwFlushBuffersFile"] = [1],
        ["ZwCreateKey"] = [0, 2, 4, 6],
        ["ZwOpenKey"] = [0, 2],
        ["ZwOpenKeyEx"] = [0, 2],
        ["ZwQueryKey"] = [2, 4],
        ["ZwQueryValueKey"] = [1, 3, 5],
        ["ZwSetValueKey"] = [1, 4],
        ["ZwDeleteValueKey"] = [1],
        ["ZwEnumerateKey"] = [3, 5],
        ["ZwEnumerateValueKey"] = [3, 5],
        ["ZwCreateEvent"] = [0, 2],
        ["ZwOpenEvent"] = [0, 2],
        ["ZwCreateSection"] = [0, 2, 3],
        ["ZwOpenSection"] = [0, 2],
    };

    public IReadOnlyList<KernelExport> Calls { get; } = [.. KernelExports.All.Where(export => Addresses.ContainsKey(export.Name))];

    public void Called(in DdiCalled e)
    {
        foreach (int index in Addresses[e.Export.Name])
        {
            ulong address = e.Arguments[index];
            if (address is < FirstUserAddress or > Mdls.HighestUserAddress) continue;
            Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
                $"{Tracker.Caller} called {e.Export.SourceName} with {Format.Address(address)}, an address of user memory, as argument {index + 1}: "
                    + "the routine does not probe it.", (ulong)e.Export.Index);
            return;
        }
    }
}
