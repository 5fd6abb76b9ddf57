using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>What drivers hang on a driver object: context areas, and routines to call when its initialisation is over.</summary>
public sealed class DriverExtensions
{
    const uint Tag = 0x78457244; // "DrEx"

    readonly Machine machine;
    readonly Lock gate = new();
    readonly List<Reinitialization> reinitializations = [];

    internal DriverExtensions(Machine machine)
    {
        this.machine = machine;
        machine.Objects.Types.Driver.Deleting = driver => Free((PDRIVER_OBJECT)driver);
    }

    /// <summary>Lies before a context area; the chain begins in DRIVER_EXTENSION.ClientDriverExtension.</summary>
    struct Area
    {
        internal PVOID Next;
        internal PVOID ClientIdentificationAddress;
    }

    readonly record struct Reinitialization(
        PDRIVER_OBJECT Driver, PDRIVER_REINITIALIZE Routine, PVOID Context, bool AtBoot);

    /// <summary>Allocates a zeroed context area of a driver object, freed with that. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="ClientIdentificationAddress">Finds the area again; any value that is not used for this driver yet.</param>
    /// <param name="DriverObjectExtensionSize">Bytes.</param>
    /// <returns>STATUS_OBJECT_NAME_COLLISION when the value is used, STATUS_INSUFFICIENT_RESOURCES when memory is short.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL, FailsWith = DdiFailure.Status)]
    public NTSTATUS IoAllocateDriverObjectExtension(
        PDRIVER_OBJECT DriverObject, PVOID ClientIdentificationAddress, uint DriverObjectExtensionSize, out PVOID DriverObjectExtension, [Caller] ulong caller = 0)
    {
        DriverObjectExtension = default;
        const ulong headerSize = 0x10;
        ulong area = machine.Pool.Allocate(POOL_TYPE.NonPagedPool, headerSize + DriverObjectExtensionSize, Tag, caller, zero: true);
        if (area == 0) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        lock (gate)
        {
            if (Find(DriverObject, ClientIdentificationAddress) == 0)
            {
                ref PVOID first = ref DriverObject.DriverExtension.ClientDriverExtension;
                GuestMemory.Ref<Area>(area) = new Area { Next = first, ClientIdentificationAddress = ClientIdentificationAddress };
                first = new PVOID(area);
                DriverObjectExtension = new PVOID(area + headerSize);
                return NTSTATUS.STATUS_SUCCESS;
            }
        }
        machine.Pool.Free(area, Tag);
        return NTSTATUS.STATUS_OBJECT_NAME_COLLISION;
    }

    /// <summary>Finds a context area; NULL if there is none. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public PVOID IoGetDriverObjectExtension(PDRIVER_OBJECT DriverObject, PVOID ClientIdentificationAddress)
    {
        lock (gate) return Find(DriverObject, ClientIdentificationAddress) is var area and not 0 ? new PVOID(area + 0x10) : default;
    }

    static ulong Find(PDRIVER_OBJECT driver, PVOID identification)
    {
        ulong area = driver.DriverExtension.ClientDriverExtension.Address;
        while (area != 0 && GuestMemory.Ref<Area>(area).ClientIdentificationAddress != identification) area = GuestMemory.Ref<Area>(area).Next.Address;
        return area;
    }

    /// <summary>
    /// Has a routine called once when the driver's DriverEntry has succeeded; the routine may register itself again. IRQL = PASSIVE_LEVEL.
    /// </summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public void IoRegisterDriverReinitialization(PDRIVER_OBJECT DriverObject, PDRIVER_REINITIALIZE DriverReinitializationRoutine, PVOID Context) =>
        Register(new Reinitialization(DriverObject, DriverReinitializationRoutine, Context, AtBoot: false));

    /// <summary>The same for boot drivers, before all others: a driver's load is the end of a machine's boot. IRQL = PASSIVE_LEVEL.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public void IoRegisterBootDriverReinitialization(PDRIVER_OBJECT DriverObject, PDRIVER_REINITIALIZE DriverReinitializationRoutine, PVOID Context) =>
        Register(new Reinitialization(DriverObject, DriverReinitializationRoutine, Context, AtBoot: true));

    void Register(Reinitialization reinitialization)
    {
        lock (gate) reinitializations.Add(reinitialization);
    }

    /// <summary>Calls the routines that are registered, in order, and those that they register.</summary>
    internal void Reinitialize()
    {
        while (TakeNext() is { } next)
        {
            uint count = ++next.Driver.DriverExtension.Count;
            machine.Code.Call(next.Routine, next.Driver, next.Context, count);
        }
    }

    Reinitialization? TakeNext()
    {
        lock (gate)
        {
            if (reinitializations.Count == 0) return null;
            int index = Math.Max(0, reinitializations.FindIndex(r => r.AtBoot));
            Reinitialization next = reinitializations[index];
            reinitializations.RemoveAt(index);
            return next;
        }
    }

    /// <summary>The driver did not load, or is unloaded: nothing of it is called any more.</summary>
    internal void Forget(PDRIVER_OBJECT driver)
    {
        lock (gate) reinitializations.RemoveAll(r => r.Driver == driver);
    }

    void Free(PDRIVER_OBJECT driver)
    {
        for (ulong area = driver.DriverExtension.ClientDriverExtension.Address; area != 0;)
        {
            ulong next = GuestMemory.Ref<Area>(area).Next.Address;
            machine.Pool.Free(area, Tag);
            area = next;
        }
    }
}
