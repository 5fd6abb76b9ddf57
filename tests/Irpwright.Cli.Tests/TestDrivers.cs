using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Cli.Tests;

/// <summary>A software device that answers every control request with its input, reversed.</summary>
public sealed class Mirror : WdmDriver
{
    PDEVICE_OBJECT device;

    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        NTSTATUS status = IoCreateDevice(
            DriverObject, 0, RTL_CONSTANT_STRING(@"\Device\Mirror"), FILE_DEVICE_UNKNOWN, 0, false, out device);
        if (!status.IsSuccess) return status;
        for (int i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++) DriverObject.MajorFunction[i] = Routine(Dispatch);
        DriverObject.DriverUnload = Routine(Unload);
        return STATUS_SUCCESS;
    }

    NTSTATUS Dispatch(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
        Irp.IoStatus.Status = STATUS_SUCCESS;
        Irp.IoStatus.Information = 0;
        if (stack.MajorFunction == IRP_MJ_DEVICE_CONTROL)
        {
            uint length = stack.Parameters.DeviceIoControl.InputBufferLength;
            GuestMemory.Write(Irp.AssociatedIrp.SystemBuffer.Address, (int)length).Reverse();
            Irp.IoStatus.Information = length;
        }
        IoCompleteRequest(Irp, IO_NO_INCREMENT);
        return STATUS_SUCCESS;
    }

    void Unload(PDRIVER_OBJECT DriverObject) => IoDeleteDevice(device);
}

/// <summary>A filter that breaks a rule: its completion routine does not pass the pending mark on.</summary>
public sealed class Forgetful : WdmDriver
{
    PDEVICE_OBJECT lower;

    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        for (int i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++) DriverObject.MajorFunction[i] = Routine(Forward);
        DriverObject.DriverExtension.AddDevice = Routine(AddDevice);
        return STATUS_SUCCESS;
    }

    NTSTATUS AddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
    {
        NTSTATUS status = IoCreateDevice(DriverObject, 0, default, FILE_DEVICE_DISK, 0, false, out PDEVICE_OBJECT device);
        if (!status.IsSuccess) return status;
        lower = IoAttachDeviceToDeviceStack(device, PhysicalDeviceObject);
        device.Flags |= lower.Flags & (DO_DIRECT_IO | DO_BUFFERED_IO);
        device.Flags &= ~DO_DEVICE_INITIALIZING;
        return STATUS_SUCCESS;
    }

    NTSTATUS Forward(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        IoCopyCurrentIrpStackLocationToNext(Irp);
        IoSetCompletionRoutine(Irp, Routine(Done), default, true, true, true);
        return IoCallDriver(lower, Irp);
    }

    NTSTATUS Done(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context) => STATUS_CONTINUE_COMPLETION;
}

/// <summary>Refuses to load.</summary>
public sealed class Refusing : WdmDriver
{
    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath) => STATUS_DEVICE_CONFIGURATION_ERROR;
}

/// <summary>Cannot be made without an argument.</summary>
public sealed class Demanding(int size) : WdmDriver
{
    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath) =>
        size > 0 ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}

/// <summary>Loops without calling the kernel.</summary>
public sealed class Looping : WdmDriver
{
    volatile bool stop;

    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        while (!stop)
        {
        }
        return STATUS_SUCCESS;
    }

    public void Stop() => stop = true;
}

/// <summary>Throws an exception that has nothing to do with Windows.</summary>
public sealed class Throwing : WdmDriver
{
    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath) => throw new FormatException("oops");
}

/// <summary>Answers DriverEntry with the status that its registry key names.</summary>
public sealed class Configured : WdmDriver
{
    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        using LocalVariable<OBJECT_ATTRIBUTES> attributes = Local<OBJECT_ATTRIBUTES>();
        using LocalVariable<KEY_VALUE_PARTIAL_INFORMATION> value = Local<KEY_VALUE_PARTIAL_INFORMATION>();
        attributes.Value = new OBJECT_ATTRIBUTES { Length = OBJECT_ATTRIBUTES.SizeOf, ObjectName = RegistryPath, Attributes = OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE };
        NTSTATUS status = ZwOpenKey(out HANDLE key, KEY_READ, (POBJECT_ATTRIBUTES)attributes.Address);
        if (!status.IsSuccess) return status;
        status = ZwQueryValueKey(key, RTL_CONSTANT_STRING("Status"), KeyValuePartialInformation, value.Address, KEY_VALUE_PARTIAL_INFORMATION.SizeOf, out _);
        ZwClose(key);
        return status.IsSuccess ? (NTSTATUS)GuestMemory.Ref<int>(value.Address.Address + 0xC) : status;
    }
}

/// <summary>Crashes when a control request is exactly as it wants it.</summary>
public sealed class Guarded : WdmDriver
{
    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        NTSTATUS status = IoCreateDevice(DriverObject, 0, RTL_CONSTANT_STRING(@"\Device\Guarded0"), FILE_DEVICE_UNKNOWN, 0, false, out _);
        if (!status.IsSuccess) return status;
        DriverObject.MajorFunction[IRP_MJ_CREATE] = DriverObject.MajorFunction[IRP_MJ_CLEANUP] = DriverObject.MajorFunction[IRP_MJ_CLOSE] = Routine(Complete);
        DriverObject.MajorFunction[IRP_MJ_DEVICE_CONTROL] = Routine(DispatchDeviceControl);
        DriverObject.DriverUnload = Routine(Unload);
        return STATUS_SUCCESS;
    }

    void Unload(PDRIVER_OBJECT DriverObject) => IoDeleteDevice(DriverObject.DeviceObject);

    NTSTATUS DispatchDeviceControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
        bool isIt = stack.Parameters.DeviceIoControl is { InputBufferLength: 8, OutputBufferLength: 12 }
            && GuestMemory.Ref<ulong>(Irp.AssociatedIrp.SystemBuffer.Address) == 0x0000000B_00000007;
        if (isIt) KeBugCheck(BugCheckCode.MANUALLY_INITIATED_CRASH);
        if (stack.Parameters.DeviceIoControl is { IoControlCode: 0x222008, InputBufferLength: 23, OutputBufferLength: 7 })
            KeBugCheck(BugCheckCode.MANUALLY_INITIATED_CRASH);
        return Complete(DeviceObject, Irp);
    }

    NTSTATUS Complete(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        Irp.IoStatus.Status = STATUS_SUCCESS;
        Irp.IoStatus.Information = 0;
        IoCompleteRequest(Irp, IO_NO_INCREMENT);
        return STATUS_SUCCESS;
    }
}

/// <summary>A function driver that starts its device only with a memory range and an interrupt.</summary>
public sealed class Fussy : WdmDriver
{
    PDEVICE_OBJECT lower;

    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        for (int i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++) DriverObject.MajorFunction[i] = Routine(Forward);
        DriverObject.MajorFunction[IRP_MJ_PNP] = Routine(DispatchPnp);
        DriverObject.DriverExtension.AddDevice = Routine(AddDevice);
        DriverObject.DriverUnload = Routine(Unload);
        return STATUS_SUCCESS;
    }

    void Unload(PDRIVER_OBJECT DriverObject) => lower = default;

    NTSTATUS AddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
    {
        NTSTATUS status = IoCreateDevice(DriverObject, 0, default, FILE_DEVICE_UNKNOWN, 0, false, out PDEVICE_OBJECT device);
        if (!status.IsSuccess) return status;
        lower = IoAttachDeviceToDeviceStack(device, PhysicalDeviceObject);
        device.Flags |= lower.Flags & (DO_DIRECT_IO | DO_BUFFERED_IO | DO_POWER_PAGABLE);
        device.Flags &= ~DO_DEVICE_INITIALIZING;
        return STATUS_SUCCESS;
    }

    NTSTATUS Forward(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        IoSkipCurrentIrpStackLocation(Irp);
        return IoCallDriver(lower, Irp);
    }

    NTSTATUS DispatchPnp(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
        if (stack.MinorFunction == IRP_MN_START_DEVICE && !IsContent(stack.Parameters.StartDevice.AllocatedResourcesTranslated))
        {
            Irp.IoStatus.Status = STATUS_INSUFFICIENT_RESOURCES;
            IoCompleteRequest(Irp, IO_NO_INCREMENT);
            return STATUS_INSUFFICIENT_RESOURCES;
        }
        bool isRemoved = stack.MinorFunction == IRP_MN_REMOVE_DEVICE;
        NTSTATUS status = Forward(DeviceObject, Irp);
        if (!isRemoved) return status;
        IoDetachDevice(lower);
        IoDeleteDevice(DeviceObject);
        return status;
    }

    static bool IsContent(PCM_RESOURCE_LIST list)
    {
        if (list.IsNull || list.List.PartialResourceList.Count != 2) return false;
        ref CM_PARTIAL_RESOURCE_DESCRIPTOR first = ref list.List.PartialResourceList.PartialDescriptors;
        CM_PARTIAL_RESOURCE_DESCRIPTOR second = System.Runtime.CompilerServices.Unsafe.Add(ref first, 1);
        return first.Type == CmResourceTypeMemory && first.u.Generic is { Start: 0xFE00_0000, Length: 4096 } && second.Type == CmResourceTypeInterrupt;
    }
}

/// <summary>Hardware that is there only with its settings.</summary>
public sealed class Adjusted
{
    public Adjusted(Machine machine)
    {
        if (machine.Registry.Find(@"\Registry\Machine\Software\Adjusted") is null) throw new InvalidOperationException("There are no settings.");
    }
}
