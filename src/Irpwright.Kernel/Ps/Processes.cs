using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>A process of the machine.</summary>
public sealed class Process
{
    internal Process(string name, ulong id, PEPROCESS address)
    {
        Name = name;
        Id = new HANDLE(id);
        Object = address;
    }

    /// <summary>Name of its image.</summary>
    public string Name { get; }

    /// <summary>The process id, a multiple of 4.</summary>
    public HANDLE Id { get; }

    /// <summary>The EPROCESS that drivers see.</summary>
    public PEPROCESS Object { get; }

    internal HandleTable Handles { get; } = new();

    public override string ToString() => Name;
}

/// <summary>The two processes of a machine: the system, and the one whose threads issue requests.</summary>
public sealed class Processes
{
    const ulong SystemId = 4;
    const ulong UserId = 8;

    readonly Machine machine;

    internal Processes(Machine machine)
    {
        this.machine = machine;
        System = Create("System", SystemId);
        machine.Variables.DefineValue("PsInitialSystemProcess", System.Object);
        User = Create("user.exe", UserId);
    }

    /// <summary>The process of drivers' threads; its handles are the kernel handles.</summary>
    public Process System { get; }

    /// <summary>The process of the threads that issue requests.</summary>
    public Process User { get; }

    Process Create(string name, ulong id)
    {
        PEPROCESS address = new(machine.Objects.Create(machine.Objects.Types.Process, EPROCESS.SizeOf));
        Dispatcher.InitializeHeader(new PDISPATCHER_HEADER(address.Address), (byte)KOBJECTS.ProcessObject, EPROCESS.SizeOf, 0);
        return new Process(name, id, address);
    }

    /// <summary>The process with this EPROCESS, if it is one of the machine's.</summary>
    public Process? Find(PEPROCESS process) => process == System.Object ? System : process == User.Object ? User : null;
}
