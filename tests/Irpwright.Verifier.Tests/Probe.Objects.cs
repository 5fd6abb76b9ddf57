namespace Irpwright.Verification.Tests;

/// <summary>What tests do with handles, registry keys and providers.</summary>
public sealed partial class Probe
{
    public const string Key = @"\Registry\Machine\Software\Probe";

    /// <summary>Attributes of a kernel handle to a named object.</summary>
    public POBJECT_ATTRIBUTES Attributes(string name, OBJ_FLAGS flags = OBJ_KERNEL_HANDLE)
    {
        POBJECT_ATTRIBUTES attributes = new(Allocate(OBJECT_ATTRIBUTES.SizeOf).Address);
        InitializeObjectAttributes(attributes, RTL_CONSTANT_STRING(name), flags, default, default);
        return attributes;
    }

    public HANDLE CreateKey(string name = Key)
    {
        Assert.Equal(STATUS_SUCCESS, ZwCreateKey(out HANDLE key, KEY_ALL_ACCESS, Attributes(name), 0, default, REG_OPTION_NON_VOLATILE, default));
        return key;
    }

    public HANDLE OpenKey(string name = Key)
    {
        Assert.Equal(STATUS_SUCCESS, ZwOpenKey(out HANDLE key, KEY_ALL_ACCESS, Attributes(name)));
        return key;
    }

    /// <summary>An event with a handle of the current process, or a kernel handle.</summary>
    public HANDLE CreateEvent(OBJ_FLAGS flags)
    {
        POBJECT_ATTRIBUTES attributes = new(Allocate(OBJECT_ATTRIBUTES.SizeOf).Address);
        InitializeObjectAttributes(attributes, default, flags, default, default);
        Assert.Equal(STATUS_SUCCESS, ZwCreateEvent(out HANDLE handle, EVENT_ALL_ACCESS, attributes, EVENT_TYPE.NotificationEvent, false));
        return handle;
    }

    public PUNICODE_STRING Text(string text, int length)
    {
        PUNICODE_STRING name = new(Allocate(UNICODE_STRING.SizeOf).Address);
        name.Value = RTL_CONSTANT_STRING(text).Value;
        name.Length = (ushort)length;
        return name;
    }

    public NTSTATUS SetValue(HANDLE key, PUNICODE_STRING name, PVOID data) => ZwSetValueKey(key, name, 0, REG_BINARY, data, 4);

    public NTSTATUS FlushKey(HANDLE key) => ZwFlushKey(key);

    public HANDLE OpenDevice(string name)
    {
        PVOID memory = Allocate(OBJECT_ATTRIBUTES.SizeOf + IO_STATUS_BLOCK.SizeOf);
        POBJECT_ATTRIBUTES attributes = new(memory.Address);
        InitializeObjectAttributes(attributes, RTL_CONSTANT_STRING(name), OBJ_KERNEL_HANDLE, default, default);
        Assert.Equal(STATUS_SUCCESS, ZwOpenFile(out HANDLE handle, GENERIC_READ, attributes, new PIO_STATUS_BLOCK(memory.Address + OBJECT_ATTRIBUTES.SizeOf), 0, 0));
        ExFreePool(memory);
        return handle;
    }

    public void Control(HANDLE handle, uint code)
    {
        PIO_STATUS_BLOCK block = new(Allocate(IO_STATUS_BLOCK.SizeOf).Address);
        ZwDeviceIoControlFile(handle, default, default(PIO_APC_ROUTINE), default, block, code, default, 0, default, 0);
        ExFreePool(block);
    }

    public new NTSTATUS ZwClose(HANDLE Handle) => base.ZwClose(Handle);

    /// <summary>References the object behind a handle, and gives the reference back if there is one.</summary>
    public NTSTATUS Reference(HANDLE handle, MODE mode)
    {
        NTSTATUS status = ObReferenceObjectByHandle(handle, 0, default, mode, out PVOID found, default);
        if (status >= 0) ObDereferenceObject(found);
        return status;
    }

    public new PDEVICE_OBJECT IoGetAttachedDeviceReference(PDEVICE_OBJECT DeviceObject) => base.IoGetAttachedDeviceReference(DeviceObject);

    public void Dereference(PVOID target) => ObDereferenceObject(target);

    public NTSTATUS Wmi(uint action) => IoWMIRegistrationControl(Device, action);

    /// <summary>Gets an adapter and gives it back.</summary>
    public void UseDmaAdapter(bool obsolete)
    {
        PDEVICE_DESCRIPTION description = new(Allocate(DEVICE_DESCRIPTION.SizeOf).Address);
        description.Value = default;
        description.Version = DEVICE_DESCRIPTION_VERSION;
        description.Master = true;
        description.MaximumLength = 4096;
        PDMA_ADAPTER adapter = obsolete ? HalGetAdapter(description, out _) : IoGetDmaAdapter(default, description, out _);
        Machine.Code.Call(adapter.DmaOperations.PutDmaAdapter, adapter);
        ExFreePool(description);
    }

    /// <summary>Has a work item queued when the key changes.</summary>
    public NTSTATUS NotifyOfChange(HANDLE key, PVOID context)
    {
        PWORK_QUEUE_ITEM item = new(Allocate(WORK_QUEUE_ITEM.SizeOf).Address);
        ExInitializeWorkItem(item, OnWork, default);
        PIO_STATUS_BLOCK block = new(Allocate(IO_STATUS_BLOCK.SizeOf).Address);
        return ZwNotifyChangeKey(key, default, new PIO_APC_ROUTINE(item.Address), context, block, REG_NOTIFY_CHANGE_LAST_SET, false, default, 0, true);
    }

    public ulong RegisterProvider()
    {
        PGUID id = new(Allocate(16).Address);
        Assert.Equal(STATUS_SUCCESS, EtwRegister(id, default, default, out ulong handle));
        ExFreePool(id);
        return handle;
    }

    public NTSTATUS UnregisterProvider(ulong handle) => EtwUnregister(handle);
}
