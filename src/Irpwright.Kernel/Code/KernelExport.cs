namespace Irpwright.Kernel;

/// <summary>
/// Marks a method as a kernel routine that drivers call. From it are generated the method of the same name on
/// <see cref="WdmDriver"/>, the thunk for compiled drivers and the row in <see cref="KernelExports"/>.
/// </summary>
/// <param name="name">The exported name where the header maps the DDI to another one (IoCallDriver to IofCallDriver).</param>
[AttributeUsage(AttributeTargets.Method)]
public sealed class KernelExportAttribute(string? name = null) : Attribute
{
    public string? Name { get; } = name;

    /// <summary>Another exported name of the same routine, for drivers that were built with older headers.</summary>
    public string? Alias { get; init; }

    public string Module { get; init; } = "ntoskrnl.exe";

    /// <summary>Lowest IRQL at which the documentation allows the call.</summary>
    public byte MinIrql { get; init; }

    /// <summary>Highest IRQL at which the documentation allows the call.</summary>
    public byte MaxIrql { get; init; } = 15;

    /// <summary>What becomes of a call when resources are short; <see cref="FaultInjection"/> has it happen.</summary>
    public DdiFailure FailsWith { get; init; }
}

/// <summary>How a kernel routine fails that can fail through no fault of its caller.</summary>
public enum DdiFailure : byte
{
    /// <summary>It does not.</summary>
    None,
    /// <summary>Returns NULL.</summary>
    Null,
    /// <summary>Returns STATUS_INSUFFICIENT_RESOURCES.</summary>
    Status,
    /// <summary>Raises STATUS_INSUFFICIENT_RESOURCES.</summary>
    Raise,
    /// <summary>Returns STATUS_ALERTED at once from an alertable wait.</summary>
    Alert,
}

/// <summary>Marks a DDI that the WDK defines inline: compiled drivers carry its code, so it has no export.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class WdkInlineAttribute : Attribute;

/// <summary>Marks a parameter that receives the return address of the calling code; drivers do not see it.</summary>
[AttributeUsage(AttributeTargets.Parameter)]
public sealed class CallerAttribute : Attribute;

/// <summary>One exported kernel routine.</summary>
public sealed unsafe class KernelExport
{
    delegate*<Machine, ulong*, void> thunk;

    /// <param name="row">Index, name, name in source, module, lowest and highest IRQL, failure, and parameter sizes, with a space between each.</param>
    internal KernelExport(string row)
    {
        string[] columns = row.Split(' ');
        Index = int.Parse(columns[0]);
        Name = columns[1];
        SourceName = columns[2];
        Module = columns[3];
        MinIrql = byte.Parse(columns[4]);
        MaxIrql = byte.Parse(columns[5]);
        FailsWith = (DdiFailure)byte.Parse(columns[6]);
        ParameterSizes = columns[7];
    }

    /// <summary>Position in <see cref="KernelExports.All"/>; gives the routine its address.</summary>
    public int Index { get; }

    /// <summary>Name in the export table.</summary>
    public string Name { get; }

    /// <summary>Name in driver source.</summary>
    public string SourceName { get; }

    public string Module { get; }

    public byte MinIrql { get; }

    public byte MaxIrql { get; }

    public DdiFailure FailsWith { get; }

    /// <summary>Named parameters; those of a variable argument list do not count.</summary>
    public int ParameterCount => ParameterSizes.Length;

    /// <summary>A digit for each of them: the bytes that count of what is passed.</summary>
    public string ParameterSizes { get; }

    /// <summary>Takes its arguments from registers and stack by the Microsoft x64 convention; leaves the result in rax.</summary>
    public delegate*<Machine, ulong*, void> Thunk => thunk != null ? thunk : thunk = KernelExports.ThunkAt(Index);

    public override string ToString() => $"{Module}!{Name}";
}

public static partial class KernelExports
{
    static readonly Dictionary<string, KernelExport> ByName = All.ToDictionary(e => e.Name, StringComparer.Ordinal);

    /// <summary>The export of that exact name in any kernel module; older and newer systems place some in ntoskrnl, some in the HAL.</summary>
    public static KernelExport? Find(string name) => ByName.GetValueOrDefault(name);
}
