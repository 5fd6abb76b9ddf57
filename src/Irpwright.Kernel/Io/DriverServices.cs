using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Loads compiled drivers for the kernel; whoever places images implements it.</summary>
public interface IDriverImages
{
    /// <summary>Starts the driver of a service. Called on a guest thread.</summary>
    /// <returns>What DriverEntry returned; STATUS_OBJECT_NAME_NOT_FOUND when no image is known by that name.</returns>
    NTSTATUS StartService(string service, out Driver? driver);

    /// <summary>Calls DriverUnload and frees the image. Called on a guest thread.</summary>
    bool Unload(Driver driver);
}

/// <summary>Drivers that drivers load, by the name of a service.</summary>
/// <remarks>A service is a C# driver that was given to <see cref="Add"/>, or an image that the machine was given.</remarks>
public sealed class DriverServices
{
    const string Root = @"\Registry\Machine\System\", Services = @"\Services\";

    readonly Machine machine;
    readonly Lock gate = new();
    readonly Dictionary<string, Func<WdmDriver>> managed = new(StringComparer.OrdinalIgnoreCase);
    int unnamed;

    internal DriverServices(Machine machine) => this.machine = machine;

    /// <summary>Loads compiled drivers; null in a machine that has C# drivers only.</summary>
    public IDriverImages? Images { get; set; }

    /// <summary>Installs a C# driver as a service; nothing of it runs until a driver calls ZwLoadDriver.</summary>
    public void Add(string service, Func<WdmDriver> create)
    {
        lock (gate) managed[service] = create;
    }

    /// <summary>Loads the driver of a service. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="DriverServiceName"><c>\Registry\Machine\System\CurrentControlSet\Services\</c> and the service's name.</param>
    /// <returns>
    /// What DriverEntry returned; STATUS_IMAGE_ALREADY_LOADED; STATUS_OBJECT_NAME_NOT_FOUND when there is no such service.
    /// </returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwLoadDriver(PUNICODE_STRING DriverServiceName)
    {
        if (ServiceOf(DriverServiceName) is not { } service) return NTSTATUS.STATUS_OBJECT_NAME_NOT_FOUND;
        if (Find(service) is not null) return NTSTATUS.STATUS_IMAGE_ALREADY_LOADED;
        Func<WdmDriver>? create;
        lock (gate) managed.TryGetValue(service, out create);
        if (create is not null) return machine.Drivers.Load(create(), service, out _);
        return Images?.StartService(service, out _) ?? NTSTATUS.STATUS_OBJECT_NAME_NOT_FOUND;
    }

    /// <summary>Unloads the driver of a service. IRQL = PASSIVE_LEVEL.</summary>
    /// <returns>
    /// STATUS_INVALID_DEVICE_REQUEST for a driver without DriverUnload or of a Plug and Play device, which stays;
    /// STATUS_OBJECT_NAME_NOT_FOUND when it is not loaded.
    /// </returns>
    /// <exception cref="MachineUnsupportedException">
    /// A device of the driver is open or has another one attached: Windows then unloads it later, which is not modelled.
    /// </exception>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwUnloadDriver(PUNICODE_STRING DriverServiceName)
    {
        if (ServiceOf(DriverServiceName) is not { } service || Find(service) is not { } driver) return NTSTATUS.STATUS_OBJECT_NAME_NOT_FOUND;
        if (driver.Object.DriverUnload.IsNull || !driver.Object.DriverExtension.AddDevice.IsNull) return NTSTATUS.STATUS_INVALID_DEVICE_REQUEST;
        for (PDEVICE_OBJECT device = driver.Object.DeviceObject; !device.IsNull; device = device.NextDevice)
        {
            if (device.ReferenceCount == 0 && device.AttachedDevice.IsNull) continue;
            throw machine.BugChecks.StopUnsupported(
                $"ZwUnloadDriver was called for {driver} while its device {machine.Objects.NameOf(device)} is in use: "
                + "unloading it when the last handle is closed is not modelled.");
        }
        if (driver.Managed is null && Images is { } images) images.Unload(driver);
        else machine.Drivers.Unload(driver);
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>
    /// Makes a driver object and calls a routine of the calling driver as its DriverEntry, with a NULL registry path. Not documented;
    /// declared in ntddk.h of older kits. IRQL = PASSIVE_LEVEL.
    /// </summary>
    /// <param name="DriverName">Such as <c>\Driver\Second</c>; NULL for a name made up by the system.</param>
    /// <returns>What the routine returned; STATUS_OBJECT_NAME_COLLISION when there is a driver of that name.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS IoCreateDriver(PUNICODE_STRING DriverName, PDRIVER_INITIALIZE InitializationFunction)
    {
        string name = DriverName.IsNull ? $@"\Driver\{Interlocked.Increment(ref unnamed):D8}" : Strings.Read(DriverName);
        string service = name[(name.LastIndexOf('\\') + 1)..];
        return Find(service) is not null ? NTSTATUS.STATUS_OBJECT_NAME_COLLISION : machine.Drivers.Create(service, InitializationFunction);
    }

    /// <summary>Removes a driver object that <see cref="IoCreateDriver"/> made, without calling it. IRQL = PASSIVE_LEVEL.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public void IoDeleteDriver(PDRIVER_OBJECT DriverObject)
    {
        if (machine.Drivers.Find(DriverObject) is { } driver) machine.Drivers.Delete(driver);
    }

    Driver? Find(string service) => machine.Drivers.All.FirstOrDefault(d => d.Name.Equals(service, StringComparison.OrdinalIgnoreCase));

    /// <summary>The name behind ...\CurrentControlSet\Services\ or ...\ControlSet001\Services\; null for any other path.</summary>
    static string? ServiceOf(PUNICODE_STRING registryPath)
    {
        string path = Strings.Read(registryPath);
        int services = path.IndexOf(Services, StringComparison.OrdinalIgnoreCase);
        if (!path.StartsWith(Root, StringComparison.OrdinalIgnoreCase) || services < Root.Length) return null;
        string controlSet = path[Root.Length..services], service = path[(services + Services.Length)..];
        return controlSet.Contains("ControlSet", StringComparison.OrdinalIgnoreCase) && service.Length > 0 && !service.Contains('\\') ? service : null;
    }
}
