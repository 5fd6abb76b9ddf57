namespace Irpwright.Verification.Rules;

/// <summary>Files, keys and directories are reached by requests that wait.</summary>
sealed class IrqlIoRtlZwPassive() : IrqlRule(PASSIVE_LEVEL, PASSIVE_LEVEL, Routines)
{
    static readonly IReadOnlyList<KernelExport> Routines = Exports(
        "IoCreateFileEx", "IoCreateFileSpecifyDeviceObjectHint", "IoGetDeviceDirectory", "IoGetDriverDirectory",
        "IoOpenDeviceInterfaceRegistryKey", "IoOpenDeviceRegistryKey", "RtlCreateRegistryKey",
        "RtlCreateSystemVolumeInformationFolder", "RtlWriteRegistryValue", "ZwCreateDirectoryObject", "ZwCreateFile",
        "ZwCreateKeyTransacted", "ZwDeleteFile", "ZwDeleteValueKey", "ZwFlushBuffersFile", "ZwFlushBuffersFileEx",
        "ZwRenameKey", "ZwSetEaFile", "ZwSetInformationFile", "ZwSetInformationKey");

    public static RuleInfo Definition { get; } = new(nameof(IrqlIoRtlZwPassive), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlIoRtlZwPassive)), Codes.Detected(0x00020023),
        "IoCreateFileEx, IoCreateFileSpecifyDeviceObjectHint, IoGetDeviceDirectory or another of 20 routines is called above PASSIVE_LEVEL.",
        static () => new IrqlIoRtlZwPassive())
    {
        Covers = ["DV-C9-0x24A"],
        Instead = "Copy what is to be written under the lock and call the routine after its release; from a DPC, queue a work item.",
        Wrong = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            status = RtlWriteRegistryValue(RTL_REGISTRY_ABSOLUTE, path, name, REG_DWORD, &count, sizeof(count));
            KeReleaseSpinLock(&Extension->Lock, irql);
            """,
        Right = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            Extension->IsClosing = TRUE;
            KeReleaseSpinLock(&Extension->Lock, irql);
            status = RtlWriteRegistryValue(RTL_REGISTRY_ABSOLUTE, path, name, REG_DWORD, &count, sizeof(count));
            """,
    };
}
