namespace Irpwright.Verification.Tracking;

/// <summary>A place in a driver's code, as far as it is known.</summary>
/// <param name="driver">Null when only addresses are known.</param>
/// <param name="routine">The routine of the driver that runs; 0 if none of the kind the kernel calls.</param>
/// <param name="call">Address behind the call into the kernel; 0 if there is none.</param>
public readonly struct CodePlace(Machine machine, PDRIVER_OBJECT driver, ulong routine, ulong call)
{
    /// <summary>What makes two places the same.</summary>
    internal (ulong Routine, ulong Call) Key => (routine, call);

    /// <summary>The routine, or the call where no routine is known.</summary>
    public ulong Address => routine != 0 ? routine : call;

    /// <summary>The driver's name; null when nobody knows it.</summary>
    public string? DriverName => Driver?.Name;

    /// <summary>Whether it is in the code of a driver.</summary>
    public bool IsIn(PDRIVER_OBJECT driverObject) => Driver?.Object == driverObject;

    internal Driver? Driver => Find(machine, routine) ?? Find(machine, call) ?? Loaded(driver);

    Driver? Loaded(PDRIVER_OBJECT driverObject) => driverObject.IsNull ? null : machine.Drivers.Find(driverObject);

    /// <summary>Such as <c>passthrough!PassDone</c>; null when nothing is known.</summary>
    public string? Symbol => NameOf(machine, routine) ?? (IsManaged(call) ? null : NameOf(machine, call)) ?? DriverName;

    // The call address of a C# driver only says which driver it is.
    bool IsManaged(ulong address) => machine.Code.RoutineAt(address) is not null;

    public override string ToString() => Symbol ?? "The kernel";

    static string? NameOf(Machine machine, ulong address)
    {
        if (address == 0) return null;
        Driver? driver = Find(machine, address);
        if (machine.Code.RoutineAt(address) is { } routine)
            return $"{driver?.Name ?? routine.Target?.GetType().Name}!{routine.Method.Name}";
        return machine.BugChecks.SymbolAt?.Invoke(address)
            ?? (driver is null ? Format.Address(address) : $"{driver.Name}+0x{address - driver.Object.DriverStart.Address:x}");
    }

    /// <summary>The driver that code belongs to.</summary>
    internal static Driver? Find(Machine machine, ulong address) => machine.Drivers.FindByCode(address);
}
