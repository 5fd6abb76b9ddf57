using System.Runtime.InteropServices;
using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Reporting;

/// <summary>
/// Names for what lives in a machine that are the same in every run: <c>irp#1</c>, <c>\Device\Disk0</c>, <c>retry#1</c>,
/// <c>T1</c>, <c>file#1</c>, <c>timer#1</c>, <c>passthrough!PassDone</c>.
/// </summary>
/// <remarks>Attach it before the observers that use it: numbers are given in the order of events.</remarks>
public sealed class ObjectNames(Machine machine) : KernelObserver
{
    readonly Lock gate = new();
    readonly Dictionary<(string Kind, ulong Address), int> numbers = [];
    readonly Dictionary<string, int> counts = [];
    readonly Dictionary<ulong, IrpLabel> irps = [];
    readonly Dictionary<ulong, string> devices = [];
    // Valid until a driver comes or goes.
    readonly Dictionary<ulong, string> drivers = [];
    readonly Dictionary<ulong, string> routines = [];
    readonly Dictionary<(string Driver, ulong Routine), string> shortRoutines = [];

    public override void On(in IrpAllocated e)
    {
        lock (gate) irps[e.Irp.Address] = e.Label;
    }

    public override void On(in PoolAllocated e) => Renumber("pool", e.Address);

    public override void On(in DriverLoaded e) => Forget();

    public override void On(in DriverUnloaded e) => Forget();

    public override void On(in DeviceCreated e)
    {
        string name = e.Name.Length > 0 ? e.Name : NextNumbered(DriverOf(e.DeviceObject));
        lock (gate) devices[e.DeviceObject.Address] = name;
    }

    public override void On(in RequestSent e)
    {
        // A file object's first request is its IRP_MJ_CREATE; its memory may have been another file before.
        PIO_STACK_LOCATION first = new(e.Irp.Tail.Overlay.CurrentStackLocation.Address - IO_STACK_LOCATION.SizeOf);
        if (first.MajorFunction == IRP_MJ_CREATE) Renumber("file", e.FileObject.Address);
    }

    public string Irp(PIRP irp)
    {
        lock (gate) return irps.TryGetValue(irp.Address, out IrpLabel label) ? label.ToString() : $"irp@{Format.Address(irp.Address)}";
    }

    public string File(PFILE_OBJECT file) => Numbered("file", file.Address);

    public static string Thread(KernelThread thread) => $"T{thread.Id}";

    /// <summary>The device's name, or its driver's with a number.</summary>
    public string Device(PDEVICE_OBJECT device)
    {
        if (device.IsNull) return "";
        lock (gate)
        {
            if (devices.TryGetValue(device.Address, out string? name)) return name;
        }
        string known = machine.Objects.NameOf(device);
        // A pointer to nowhere gets a name as well.
        if (!known.StartsWith('\\')) known = NextNumbered(DriverOf(device) is { Length: > 0 } driver ? driver : "device");
        lock (gate) return devices[device.Address] = known;
    }

    /// <summary>Name of the driver that a device belongs to.</summary>
    public string DriverOf(PDEVICE_OBJECT device)
    {
        if (device.IsNull || !GuestMemory.IsAccessible(device.Address, DEVICE_OBJECT.SizeOf, PageAccess.Read)) return "";
        return Driver(device.DriverObject);
    }

    /// <summary>A driver's service name.</summary>
    public string Driver(PDRIVER_OBJECT driver)
    {
        lock (gate)
            return drivers.TryGetValue(driver.Address, out string? name) ? name : drivers[driver.Address] = FindDriver(driver);
    }

    string FindDriver(PDRIVER_OBJECT driver)
    {
        if (driver.IsNull || !GuestMemory.IsAccessible(driver.Address, DRIVER_OBJECT.SizeOf, PageAccess.Read)) return "";
        if (machine.Drivers.Find(driver) is { } loaded) return loaded.Name;
        UNICODE_STRING name = driver.DriverName;
        if (!GuestMemory.IsAccessible(name.Buffer.Address, name.Length, PageAccess.Read)) return "";
        string text = new(MemoryMarshal.Cast<byte, char>(GuestMemory.Read(name.Buffer.Address, name.Length)));
        return text[(text.LastIndexOf('\\') + 1)..];
    }

    /// <summary>A routine or code address as a debugger shows it: <c>passthrough!PassDone</c>; <c>nt!</c> for the kernel's.</summary>
    public string Routine(ulong address)
    {
        lock (gate) return routines.TryGetValue(address, out string? name) ? name : routines[address] = FindRoutine(address);
    }

    string FindRoutine(ulong address)
    {
        if (machine.Code.RoutineAt(address) is { } routine) return $"{ModuleOf(routine)}!{MethodName(routine.Method.Name)}";
        if (machine.Code.ExportAt(address) is { } export) return $"nt!{export.Name}";
        return machine.BugChecks.SymbolAt?.Invoke(address) ?? Format.Address(address);
    }

    /// <summary>A routine's name where its driver's stands beside it already.</summary>
    public string RoutineIn(string driver, ulong address)
    {
        lock (gate)
        {
            if (!shortRoutines.TryGetValue((driver, address), out string? name))
                shortRoutines[(driver, address)] = name = Shorten(driver, address);
            return name;
        }
    }

    string Shorten(string driver, ulong address)
    {
        string name = Routine(address);
        int mark = name.IndexOf('!');
        if (mark >= 0) return name.AsSpan(0, mark).Equals(driver, StringComparison.OrdinalIgnoreCase) ? name[(mark + 1)..] : name;
        return name.StartsWith(driver + "+", StringComparison.OrdinalIgnoreCase) ? name[driver.Length..] : name;
    }

    /// <summary>Who called a DDI: the place in a compiled driver, or the name of a C# driver.</summary>
    public string Caller(ulong address) => machine.Code.RoutineAt(address) is { } routine ? ModuleOf(routine) : Routine(address);

    /// <summary>The driver that code belongs to: the module of a routine.</summary>
    public string ModuleOf(ulong address)
    {
        string name = Routine(address);
        int end = name.AsSpan().IndexOfAny('!', '+');
        return end < 0 ? name : name[..end];
    }

    /// <summary>Any other object, such as <c>timer#1</c>.</summary>
    public string Numbered(string kind, ulong address)
    {
        if (address == 0) return "";
        lock (gate)
        {
            if (!numbers.TryGetValue((kind, address), out int number)) numbers[(kind, address)] = number = Next(kind);
            return $"{kind}#{number}";
        }
    }

    /// <summary>Something that can be waited for: <c>event#1</c>, <c>timer#1</c>, <c>mutex#1</c>.</summary>
    public string DispatcherObject(PVOID address)
    {
        if (!GuestMemory.IsAccessible(address.Address, 1, PageAccess.Read)) return Numbered("object", address.Address);
        KOBJECTS type = (KOBJECTS)GuestMemory.Ref<byte>(address.Address);
        return Numbered(type switch
        {
            KOBJECTS.EventNotificationObject or KOBJECTS.EventSynchronizationObject => "event",
            KOBJECTS.TimerNotificationObject or KOBJECTS.TimerSynchronizationObject => "timer",
            KOBJECTS.MutantObject => "mutex",
            KOBJECTS.SemaphoreObject => "semaphore",
            KOBJECTS.ThreadObject => "thread",
            _ => "object",
        }, address.Address);
    }

    void Forget()
    {
        lock (gate)
        {
            drivers.Clear();
            routines.Clear();
            shortRoutines.Clear();
        }
    }

    void Renumber(string kind, ulong address)
    {
        lock (gate) numbers[(kind, address)] = Next(kind);
    }

    string NextNumbered(string kind)
    {
        lock (gate) return $"{kind}#{Next("device of " + kind)}";
    }

    int Next(string kind) => ++CollectionsMarshal.GetValueRefOrAddDefault(counts, kind, out _);

    string ModuleOf(Delegate routine)
    {
        if (routine.Target is not WdmDriver driver) return DeclaringModule(routine);
        foreach (Driver loaded in machine.Drivers.All)
        {
            if (loaded.Managed == driver) return loaded.Name;
        }
        return driver.GetType().Name;
    }

    // The kernel's own routines, and static or closed-over methods of a driver.
    static string DeclaringModule(Delegate routine) =>
        routine.Method.DeclaringType is { } type && type.Assembly != typeof(Machine).Assembly ? (type.DeclaringType ?? type).Name : "nt";

    // The compiler's names of local functions and lambdas: <Outer>g__Inner|0_1, <Outer>b__0.
    static string MethodName(string name)
    {
        if (!name.StartsWith('<')) return name;
        int close = name.IndexOf('>');
        int inner = name.IndexOf("g__", close + 1, StringComparison.Ordinal);
        if (inner < 0) return name[1..close];
        int bar = name.IndexOf('|', inner);
        return name[(inner + 3)..(bar < 0 ? name.Length : bar)];
    }
}
