namespace Irpwright.Verification.Rules;

/// <summary>A handle that is not open now may be another object's tomorrow.</summary>
sealed class IwInvalidHandle : Rule, IWatchReturns
{
    public static RuleInfo Definition { get; } = new(nameof(IwInvalidHandle), RuleFamily.Object, Error,
        Pages.BugCheck("0x93--invalid-kernel-handle"), Codes.Detected(0x3C),
        "A driver gives a handle that is NULL, closed or was never open to a Zw routine, or, with KernelMode, to ObReferenceObjectByHandle.",
        static () => new IwInvalidHandle())
    {
        Covers = ["DV-C4-0x3C", "DV-C4-0xF5", "BC-0x93"],
        Instead = "Close a handle once, set the variable to NULL then, and use no handle whose open failed.",
        Wrong = """
            ZwClose(handle);
            status = ZwQueryValueKey(handle, &name, KeyValuePartialInformation, buffer, length, &needed);
            """,
        Right = """
            status = ZwQueryValueKey(handle, &name, KeyValuePartialInformation, buffer, length, &needed);
            ZwClose(handle);
            """,
    };

    // Whose first argument is the only handle.
    static readonly string[] OneHandle =
    [
        "ZwClose", "ZwFlushBuffersFile", "ZwCancelIoFile", "ZwQueryInformationFile", "ZwSetInformationFile", "ZwQueryVolumeInformationFile",
        "ZwSetVolumeInformationFile", "ZwDeleteKey", "ZwDeleteValueKey", "ZwEnumerateKey", "ZwEnumerateValueKey", "ZwFlushKey", "ZwQueryKey",
        "ZwQueryValueKey", "ZwRenameKey", "ZwSetValueKey", "ZwClearEvent", "ZwResetEvent", "ZwSetEvent", "ZwWaitForSingleObject", "ZwQueryObject",
        "ZwMakeTemporaryObject", "ZwQuerySymbolicLinkObject",
    ];

    public IReadOnlyList<KernelExport> Calls { get; } =
        [.. KernelExports.All.Where(export => OneHandle.Contains(export.Name)), KernelExports.ObReferenceObjectByHandle, KernelExports.ObReferenceObjectByHandleWithTag];

    public void Returned(in DdiReturned e)
    {
        if ((int)e.Result != (int)NTSTATUS.STATUS_INVALID_HANDLE) return;
        bool references = e.Export == KernelExports.ObReferenceObjectByHandle || e.Export == KernelExports.ObReferenceObjectByHandleWithTag;
        // With UserMode the handle is a program's, which may give anything.
        if (references && (MODE)(byte)e.Arguments[3] != MODE.KernelMode) return;
        ulong handle = e.Arguments[0];
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
            $"{Tracker.Caller} called {e.Export.SourceName} with {(handle == 0 ? "the handle NULL" : $"handle 0x{handle:x}, which is not open")}.",
            (ulong)e.Export.Index);
    }
}
