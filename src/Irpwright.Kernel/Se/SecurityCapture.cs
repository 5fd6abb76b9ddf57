using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Copies of security descriptors that callers handed over: what IoCreateDeviceSecure of wdmsec.lib builds on.</summary>
public sealed class SecurityCapture
{
    const uint Tag = 0x64536553; // "SeSd"
    const byte Revision = 1;

    readonly Machine machine;

    internal SecurityCapture(Machine machine) => this.machine = machine;

    /// <summary>Copies a descriptor into pool, self-relative, so that its owner cannot change it any more. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="InputSecurityDescriptor">May be null, and is the result then.</param>
    /// <param name="ForceCapture">Without it, one of kernel mode is taken as it is.</param>
    /// <param name="OutputSecurityDescriptor">If it is a copy, the caller frees it with ExFreePool.</param>
    /// <returns>STATUS_UNKNOWN_REVISION, STATUS_INSUFFICIENT_RESOURCES; for one of user mode also what reading it raises.</returns>
    [KernelExport(MaxIrql = APC_LEVEL, FailsWith = DdiFailure.Status)]
    public NTSTATUS SeCaptureSecurityDescriptor(PVOID InputSecurityDescriptor, MODE RequestorMode, POOL_TYPE PoolType, BOOLEAN ForceCapture,
        out PVOID OutputSecurityDescriptor)
    {
        OutputSecurityDescriptor = InputSecurityDescriptor;
        if (InputSecurityDescriptor.IsNull || (RequestorMode == MODE.KernelMode && !ForceCapture)) return STATUS_SUCCESS;
        OutputSecurityDescriptor = default;
        byte[] descriptor;
        try
        {
            if (RequestorMode == MODE.UserMode) machine.Mdls.ProbeForRead(InputSecurityDescriptor, 1, 1);
            if (GuestMemory.Ref<byte>(InputSecurityDescriptor.Address) != Revision) return STATUS_UNKNOWN_REVISION;
            descriptor = SecurityDescriptors.Capture(InputSecurityDescriptor);
        }
        catch (NtStatusException e) when (RequestorMode == MODE.UserMode)
        {
            return e.Status;
        }
        ulong copy = machine.Pool.Allocate(PoolType, (ulong)descriptor.Length, Tag, 0);
        if (copy == 0) return STATUS_INSUFFICIENT_RESOURCES;
        descriptor.CopyTo(GuestMemory.Write(copy, descriptor.Length));
        OutputSecurityDescriptor = new PVOID(copy);
        return STATUS_SUCCESS;
    }
}
