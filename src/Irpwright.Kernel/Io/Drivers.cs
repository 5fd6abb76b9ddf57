using System.Runtime.InteropServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>A driver in a machine.</summary>
public sealed class Driver
{
    internal Driver(string name, PDRIVER_OBJECT driverObject)
    {
        Name = name;
        Object = driverObject;
    }

    /// <summary>The service's name, such as <c>passthrough</c>.</summary>
    public string Name { get; }

    public PDRIVER_OBJECT Object { get; }

    /// <summary>The C# driver itself; null for a compiled one.</summary>
    public WdmDriver? Managed { get; internal init; }

    internal bool IsPartOfKernel { get; init; }

    public override string ToString() => Name;
}

/// <summary>Loads, starts and unloads drivers.</summary>
public sealed class Drivers
{
    const int MajorFunctionCount = IRP_MJ_MAXIMUM_FUNCTION + 1;

    readonly Machine machine;
    readonly Lock gate = new();
    readonly List<Driver> drivers = [];
    readonly PDRIVER_DISPATCH invalidDeviceRequest;

    internal Drivers(Machine machine)
    {
        this.machine = machine;
        invalidDeviceRequest = machine.Code.Routine(new DRIVER_DISPATCH(InvalidDeviceRequest));
    }

    /// <summary>Loaded drivers, oldest first; not those that are part of the kernel.</summary>
    public IReadOnlyList<Driver> All
    {
        get { lock (gate) return [.. drivers.Where(d => !d.IsPartOfKernel)]; }
    }

    /// <summary>The driver with this driver object, if it is loaded.</summary>
    public Driver? Find(PDRIVER_OBJECT driverObject)
    {
        lock (gate) return drivers.Find(d => d.Object == driverObject);
    }

    /// <summary>The driver that code belongs to; null for the kernel's.</summary>
    /// <param name="address">In a compiled driver, or of a routine of a C# driver.</param>
    public Driver? FindByCode(ulong address)
    {
        if (address == 0) return null;
        object? target = machine.Code.RoutineAt(address)?.Target;
        lock (gate)
        {
            return drivers.Find(driver => !driver.IsPartOfKernel && (driver.Managed is { } managed
                ? managed == target
                : address - driver.Object.DriverStart.Address < driver.Object.DriverSize));
        }
    }

    /// <summary>Loads a C# driver and calls its DriverEntry.</summary>
    /// <returns>What DriverEntry returned, or STATUS_IMAGE_ALREADY_LOADED for a name in use; on failure nothing stays loaded.</returns>
    public NTSTATUS Load(WdmDriver driver, string name, out Driver? loaded)
    {
        driver.Bind(machine);
        PDRIVER_INITIALIZE entry = machine.Code.Routine(new DRIVER_INITIALIZE(driver.DriverEntry));
        return Initialize(new Driver(name, CreateDriverObject(name, entry, 0, 0)) { Managed = driver }, entry, RegistryPath(name), out loaded);
    }

    /// <summary>Whether a driver has a dispatch routine of its own for a major function.</summary>
    public bool Handles(PDRIVER_OBJECT driver, byte majorFunction) => DispatchEntry(driver, majorFunction) != invalidDeviceRequest;

    /// <summary>Loads a driver that is part of the kernel.</summary>
    internal void LoadKernelDriver(WdmDriver driver, string name)
    {
        driver.Bind(machine);
        PDRIVER_INITIALIZE entry = machine.Code.Routine(new DRIVER_INITIALIZE(driver.DriverEntry));
        Initialize(new Driver(name, CreateDriverObject(name, entry, 0, 0)) { Managed = driver, IsPartOfKernel = true }, entry, RegistryPath(name), out _);
    }

    /// <summary>Calls the DriverEntry of a compiled driver whose image is in memory.</summary>
    /// <inheritdoc cref="Load(WdmDriver, string, out Driver?)"/>
    public NTSTATUS Load(string name, PDRIVER_INITIALIZE entry, ulong imageBase, uint imageSize, out Driver? loaded) =>
        Initialize(new Driver(name, CreateDriverObject(name, entry, imageBase, imageSize)), entry, RegistryPath(name), out loaded);

    /// <summary>Makes a driver object for a loaded driver that wants a second one.</summary>
    /// <param name="entry">Called as DriverEntry is, with a NULL registry path.</param>
    /// <returns>What the routine returned.</returns>
    internal NTSTATUS Create(string name, PDRIVER_INITIALIZE entry)
    {
        var driver = new Driver(name, CreateDriverObject(name, entry, 0, 0));
        driver.Object.Flags |= DRVO_BUILTIN_DRIVER;
        return Initialize(driver, entry, default, out _);
    }

    NTSTATUS Initialize(Driver driver, PDRIVER_INITIALIZE entry, PUNICODE_STRING registryPath, out Driver? loaded)
    {
        PDRIVER_OBJECT driverObject = driver.Object;
        if (machine.Objects.SetName(driverObject.Address, $@"\Driver\{driver.Name}", NameLifetime.Owner) < 0)
        {
            machine.Objects.ObfDereferenceObject(driverObject);
            loaded = null;
            return NTSTATUS.STATUS_IMAGE_ALREADY_LOADED;
        }
        if (driver.Managed is { } managed) managed.DriverObject = driverObject;
        lock (gate) drivers.Add(driver);
        NTSTATUS status = InKernel(() =>
        {
            if (driverObject.DriverSize != 0) machine.NotifyRoutines.ImageLoaded(driver.Name, driverObject.DriverStart.Address, driverObject.DriverSize);
            return machine.Code.Call(entry, driverObject, registryPath);
        });
        machine.Events.Emit(new DriverLoaded(driverObject, driver.Name, status));
        if (status < 0)
        {
            Delete(driver);
            loaded = null;
            return status;
        }
        // DEV-05: devices made in DriverEntry are ready now; those of AddDevice are made ready by the driver itself.
        for (PDEVICE_OBJECT device = driverObject.DeviceObject; !device.IsNull; device = device.NextDevice)
            device.Flags &= ~DO_DEVICE_INITIALIZING;
        driverObject.Flags |= DRVO_INITIALIZED;
        InKernel(() =>
        {
            machine.DriverExtensions.Reinitialize();
            return NTSTATUS.STATUS_SUCCESS;
        });
        loaded = driver;
        return status;
    }

    PDRIVER_OBJECT CreateDriverObject(string name, PDRIVER_INITIALIZE entry, ulong imageBase, uint imageSize)
    {
        const int structures = DRIVER_OBJECT.SizeOf + DRIVER_EXTENSION.SizeOf;
        string driverName = $@"\Driver\{name}";
        ulong nameRoom = 2 * (ulong)driverName.Length + sizeof(char), keyRoom = 2 * (ulong)name.Length + sizeof(char);
        PDRIVER_OBJECT driver = new(machine.Objects.Create(machine.Objects.Types.Driver, structures + nameRoom + keyRoom));
        PDRIVER_EXTENSION extension = new(driver.Address + DRIVER_OBJECT.SizeOf);
        driver.Type = IO_TYPE_DRIVER;
        driver.Size = DRIVER_OBJECT.SizeOf;
        driver.DriverStart = new PVOID(imageBase);
        driver.DriverSize = imageSize;
        driver.DriverSection = machine.Modules.Find(imageBase);
        driver.DriverExtension = extension;
        driver.DriverInit = entry;
        // The names can be written to: wdmsec.lib, which is part of many drivers, terminates that of the service's key where it stands.
        driver.DriverName = Write(driverName, driver.Address + structures);
        driver.HardwareDatabase = machine.Strings.Constant(@"\REGISTRY\MACHINE\HARDWARE\DESCRIPTION\SYSTEM");
        extension.DriverObject = driver;
        extension.ServiceKeyName = Write(name, driver.Address + structures + nameRoom);
        for (int i = 0; i < MajorFunctionCount; i++) DispatchEntry(driver, i) = invalidDeviceRequest;
        return driver;
    }

    static UNICODE_STRING Write(string text, ulong buffer)
    {
        ushort bytes = (ushort)(2 * text.Length);
        MemoryMarshal.AsBytes(text.AsSpan()).CopyTo(GuestMemory.Write(buffer, bytes));
        return new UNICODE_STRING { Length = bytes, MaximumLength = (ushort)(bytes + sizeof(char)), Buffer = new PWSTR(buffer) };
    }

    PUNICODE_STRING RegistryPath(string name)
    {
        string path = $@"\Registry\Machine\System\CurrentControlSet\Services\{name}";
        machine.Registry.Create(path);
        return machine.Strings.Constant(path);
    }

    /// <summary>Calls the DllInitialize routine of an export driver.</summary>
    /// <param name="name">Names its registry key.</param>
    public NTSTATUS InitializeLibrary(PMM_DLL_INITIALIZE initialize, string name) => InKernel(() => machine.Code.Call(initialize, RegistryPath(name)));

    /// <summary>Calls the DllUnload routine of an export driver.</summary>
    public void UnloadLibrary(PMM_DLL_UNLOAD unload) => InKernel(() => machine.Code.Call(unload));

    /// <summary>Has a driver attach to a physical device object, as the PnP manager does.</summary>
    /// <returns>STATUS_NOT_SUPPORTED for a driver without an AddDevice routine.</returns>
    public NTSTATUS AddDevice(Driver driver, PDEVICE_OBJECT physicalDeviceObject)
    {
        PDRIVER_ADD_DEVICE addDevice = driver.Object.DriverExtension.AddDevice;
        if (addDevice.IsNull) return NTSTATUS.STATUS_NOT_SUPPORTED;
        return InKernel(() =>
        {
            machine.Events.Emit(new AddDeviceCalled(driver.Object, physicalDeviceObject, addDevice));
            NTSTATUS status = machine.Code.Call(addDevice, driver.Object, physicalDeviceObject);
            machine.Events.Emit(new AddDeviceReturned(driver.Object, physicalDeviceObject, addDevice, status));
            return status;
        });
    }

    /// <summary>Calls DriverUnload and forgets the driver; false if it has none: such a driver stays.</summary>
    public bool Unload(Driver driver)
    {
        PDRIVER_UNLOAD unload = driver.Object.DriverUnload;
        if (unload.IsNull) return false;
        driver.Object.Flags |= DRVO_UNLOAD_INVOKED;
        machine.Events.Emit(new DriverUnloading(driver.Object, driver.Name));
        InKernel(() =>
        {
            machine.Code.Call(unload, driver.Object);
            return NTSTATUS.STATUS_SUCCESS;
        });
        machine.Events.Emit(new DriverUnloaded(driver.Object, driver.Name));
        Delete(driver);
        return true;
    }

    /// <summary>Forgets a driver without calling it.</summary>
    internal void Delete(Driver driver)
    {
        lock (gate) drivers.Remove(driver);
        machine.Objects.RemoveName(driver.Object.Address);
        machine.DriverExtensions.Forget(driver.Object);
        machine.Objects.ObfDereferenceObject(driver.Object);
    }

    // Windows calls these routines in a thread of the system process, so handles that they open are valid in the driver's threads.
    NTSTATUS InKernel(Func<NTSTATUS> call)
    {
        KernelThread thread = machine.CurrentThread;
        Process process = thread.Process;
        thread.Process = machine.Processes.System;
        using SystemCall systemCall = thread.Enter(MODE.KernelMode);
        try
        {
            return call();
        }
        catch (Exception e) when (machine.BugChecks.Escaped(e, out Exception stop))
        {
            throw stop;
        }
        finally
        {
            thread.Process = process;
        }
    }

    internal static ref PDRIVER_DISPATCH DispatchEntry(PDRIVER_OBJECT driver, int majorFunction) =>
        ref GuestMemory.Ref<PDRIVER_DISPATCH>(driver.Address + 0x70 + 8 * (ulong)majorFunction);

    /// <summary>CALL-08: what every entry does that a driver leaves unset.</summary>
    NTSTATUS InvalidDeviceRequest(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        Irp.IoStatus.Status = NTSTATUS.STATUS_INVALID_DEVICE_REQUEST;
        machine.Completion.IoCompleteRequest(Irp, IO_NO_INCREMENT);
        return NTSTATUS.STATUS_INVALID_DEVICE_REQUEST;
    }
}
