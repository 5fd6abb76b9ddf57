using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Lookup of kernel exports while a driver runs.</summary>
public sealed class SystemRoutines
{
    readonly Machine machine;

    internal SystemRoutines(Machine machine) => this.machine = machine;

    /// <summary>
    /// Returns the address of an export of the kernel or the HAL: of a routine, to call it, or of a variable. IRQL = PASSIVE_LEVEL.
    /// </summary>
    /// <returns>NULL for a name that neither exports; names are case-sensitive.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public PVOID MmGetSystemRoutineAddress(PUNICODE_STRING SystemRoutineName) => new(Find(Strings.Read(SystemRoutineName)) ?? 0);

    /// <summary>The address of a routine or variable of the kernel; null when there is none.</summary>
    public ulong? Find(string name) =>
        KernelExports.Find(name) is { } export ? machine.Code.AddressOf(export) : machine.Variables.Find(name)?.Address;
}
