using System.Runtime.CompilerServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>
/// Base class of drivers written in C#. Every DDI is a protected method of the same name; structures are reached through
/// the WDK's pointer types. A driver reads like its C twin without the asterisks.
/// </summary>
public abstract partial class WdmDriver
{
    Machine? machine;

    /// <summary>The machine that the driver is loaded in.</summary>
    protected internal Machine Machine => machine ?? throw new InvalidOperationException($"{GetType().Name} is not loaded in a machine yet.");

    /// <summary>The driver object, from DriverEntry on.</summary>
    protected internal PDRIVER_OBJECT DriverObject { get; internal set; }

    /// <summary>An address that stands for this driver where a compiled one has a return address.</summary>
    protected internal ulong CallerAddress { get; private set; }

    /// <summary>The driver's first routine: fills in the driver object. IRQL = PASSIVE_LEVEL.</summary>
    public abstract NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath);

    /// <summary>A constant string in the driver's data, as the macro of that name makes; lives as long as the machine.</summary>
    protected PUNICODE_STRING RTL_CONSTANT_STRING(string s) => Machine.Strings.Constant(s);

    /// <summary>The driver's own data behind a device object.</summary>
    /// <typeparam name="T">Its layout; the size given to IoCreateDevice must be at least this.</typeparam>
    protected static ref T DeviceExtension<T>(PDEVICE_OBJECT DeviceObject) where T : unmanaged => ref GuestMemory.Ref<T>(DeviceObject.DeviceExtension.Address);

    /// <summary>Bytes of a structure, as the operator sizeof gives in C.</summary>
    protected static uint SizeOf<T>() where T : unmanaged => (uint)Unsafe.SizeOf<T>();

    /// <summary>A zeroed variable that has an address: what a C driver keeps on its kernel stack.</summary>
    protected LocalVariable<T> Local<T>() where T : unmanaged => new(Machine);

    internal void Bind(Machine machine)
    {
        if (this.machine is not null) throw new InvalidOperationException($"This {GetType().Name} is loaded already; make a new one for each load.");
        this.machine = machine;
        CallerAddress = machine.Code.Register(new DRIVER_INITIALIZE(DriverEntry));
    }
}
